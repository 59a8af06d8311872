// The opt-in network: one subnet for the function app, one for dbt, one for private endpoints; all that leaves goes
// through one NAT gateway with one address, which a partner can put on an allow-list.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string

var subnets = [
  {
    name: 'app'
    prefix: '10.40.0.0/24'
    delegation: 'Microsoft.App/environments'
  }
  {
    name: 'dbt'
    prefix: '10.40.1.0/24'
    delegation: 'Microsoft.ContainerInstance/containerGroups'
  }
  {
    name: 'endpoints'
    prefix: '10.40.2.0/24'
    delegation: ''
  }
]

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = {
  name: 'pip-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
    publicIPAddressVersion: 'IPv4'
  }
}

resource nat 'Microsoft.Network/natGateways@2025-05-01' = {
  name: 'nat-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    idleTimeoutInMinutes: 10
    publicIpAddresses: [
      {
        id: address.id
      }
    ]
  }
}

// Nothing out there may open a connection to us; inside the network and outwards all is as Azure's defaults say.
resource closed 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'no-internet-in'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource vnet 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: ['10.40.0.0/22']
    }
    subnets: [
      for subnet in subnets: {
        name: subnet.name
        properties: {
          addressPrefix: subnet.prefix
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: closed.id
          }
          natGateway: {
            id: nat.id
          }
          delegations: empty(subnet.delegation) ? [] : [
            {
              name: subnet.name
              properties: {
                serviceName: subnet.delegation
              }
            }
          ]
        }
      }
    ]
  }
}

output vnetId string = vnet.id
output appSubnetId string = '${vnet.id}/subnets/app'
output dbtSubnetId string = '${vnet.id}/subnets/dbt'
output endpointSubnetId string = '${vnet.id}/subnets/endpoints'
output egressIp string = address.properties.ipAddress
