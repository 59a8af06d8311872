// An optional PostgreSQL server for a stage without one. Nobody knows the administrator's password: it is made anew by
// every deployment and kept nowhere. People come in as the Entra administrator, dbt with its identity. One role has a
// password, which `./sealift azure setup` puts straight into the vault: Data Factory's connector knows no other way (decision 13).
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param tier string
param administratorId string
param administratorName string
param administratorType string
param workspaceId string
param operatorIpRanges string[]

@secure()
param administratorPassword string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: 'psql-${token}'
  location: location
  tags: tags
  sku: {
    name: tier == 'Burstable' ? 'Standard_B1ms' : 'Standard_D2ds_v5'
    tier: tier
  }
  properties: {
    version: '17'
    administratorLogin: 'unused'
    administratorLoginPassword: administratorPassword
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Enabled'
      tenantId: subscription().tenantId
    }
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 14
      geoRedundantBackup: 'Disabled'
    }
    network: {
      publicNetworkAccess: 'Enabled'
    }
  }

  resource warehouse 'databases' = {
    name: 'warehouse'
    properties: {
      charset: 'UTF8'
    }
  }

  // Data Factory's shared integration runtime has no address of its own: this rule lets Azure in, TLS and a login do the rest.
  resource azureOnly 'firewallRules' = {
    name: 'azure-services'
    properties: {
      startIpAddress: '0.0.0.0'
      endIpAddress: '0.0.0.0'
    }
    // The server takes one change at a time.
    dependsOn: [warehouse]
  }

  @batchSize(1)
  resource operators 'firewallRules' = [
    for (range, index) in operatorIpRanges: {
      name: 'operator-${index}'
      properties: {
        startIpAddress: parseCidr(range).network
        endIpAddress: parseCidr(range).broadcast
      }
      dependsOn: [azureOnly]
    }
  ]

  resource administrator 'administrators' = if (!empty(administratorId) && !empty(administratorName)) {
    name: empty(administratorId) ? 'nobody' : administratorId
    properties: {
      principalName: administratorName
      principalType: administratorType
      tenantId: subscription().tenantId
    }
    // All three: the loop of the operators is empty where no address is named, and then waits for nothing.
    dependsOn: [warehouse, azureOnly, operators]
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'PostgreSQLLogs'
        enabled: true
      }
    ]
  }
}

output host string = server.properties.fullyQualifiedDomainName
