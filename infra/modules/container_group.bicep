// dbt's container group. It exists only once its image exists, because making it runs it; the runner ends at once with
// exit code 0 when no request waits. Data Factory starts it again for each run.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param image string
param registryServer string
param identityId string
param identityClientId string
param storageUrl string
param container string
@description('entra, or the address of the secret that dbt signs in with: the runner reads it itself, so a secret that is off stops no group.')
param warehouseLogin string
param warehouseHost string
param warehouseDatabase string
param warehouseUser string
param cpu int
param memoryGb int
@description('Empty: no network of its own.')
param subnetId string

resource group 'Microsoft.ContainerInstance/containerGroups@2025-09-01' = {
  name: 'aci-dbt-${token}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    osType: 'Linux'
    sku: 'Standard'
    restartPolicy: 'Never'
    imageRegistryCredentials: [
      {
        server: registryServer
        identity: identityId
      }
    ]
    subnetIds: empty(subnetId) ? null : [
      {
        id: subnetId
      }
    ]
    containers: [
      {
        name: 'dbt'
        properties: {
          image: image
          resources: {
            requests: {
              cpu: cpu
              memoryInGB: memoryGb
            }
          }
          environmentVariables: [
            {
              name: 'AZURE_CLIENT_ID'
              value: identityClientId
            }
            {
              name: 'ARTIFACTS_URL'
              value: '${storageUrl}/${container}'
            }
            // Anything but 0 makes the platform start a container again; the verdict is in the summary.
            {
              name: 'EXIT_MODE'
              value: 'recorded'
            }
            {
              name: 'IMAGE'
              value: image
            }
            {
              name: 'PGHOST'
              value: warehouseHost
            }
            {
              name: 'PGDATABASE'
              value: warehouseDatabase
            }
            {
              name: 'PGUSER'
              value: warehouseUser
            }
            {
              name: 'WAREHOUSE_LOGIN'
              value: warehouseLogin
            }
          ]
        }
      }
    ]
  }
}

output id string = group.id
output name string = group.name
