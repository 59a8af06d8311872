// The registry that holds the dbt image. Pulled by identity, filled by `az acr build`; no admin user, no anonymous pull.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param workspaceId string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: 'cr${token}'
  location: location
  tags: tags
  sku: {
    name: 'Basic'
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: 'Enabled'
  }
}

resource logins 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logins'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [
      for category in ['ContainerRegistryLoginEvents', 'ContainerRegistryRepositoryEvents']: {
        category: category
        enabled: true
      }
    ]
  }
}

output name string = registry.name
output loginServer string = registry.properties.loginServer
