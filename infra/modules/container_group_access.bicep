// What the factory may do with dbt's container group: start, stop and watch it, and nothing else.
param containerGroupName string
param factoryPrincipalId string
@description('false: use a wider built-in role where the deployer may not define roles.')
param useCustomRole bool

// Azure Container Instances Contributor
var containerInstances = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '5d977122-f97e-4b4d-a52f-6b43003ddb4d')

resource containerGroup 'Microsoft.ContainerInstance/containerGroups@2025-09-01' existing = {
  name: containerGroupName
}

resource runContainer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (useCustomRole) {
  name: guid(resourceGroup().id, 'run-container-group')
  properties: {
    roleName: 'Sealift container runner (${uniqueString(resourceGroup().id)})'
    description: 'Starts, stops and watches a container group; cannot create, change or delete one.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.ContainerInstance/containerGroups/read'
          'Microsoft.ContainerInstance/containerGroups/start/action'
          'Microsoft.ContainerInstance/containerGroups/stop/action'
          'Microsoft.ContainerInstance/containerGroups/containers/logs/read'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource factoryContainerGroup 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(containerGroup.id, 'factory', useCustomRole ? 'custom' : 'built-in')
  scope: containerGroup
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: useCustomRole ? runContainer.id : containerInstances
    description: 'Starts dbt, watches it, stops it when it takes too long, reads its log.'
  }
}
