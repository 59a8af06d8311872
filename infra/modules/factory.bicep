// The data factory itself. What runs in it comes from adf/ by `./sealift deploy`, not from this template; only the
// global parameters are repeated here, because writing a factory without them would take them away.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param globalParameters object
param workspaceId string

resource factory 'Microsoft.DataFactory/factories@2018-06-01' = {
  name: 'adf-${token}'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    // Studio and the authoring API; data never passes here. The private opt-in does not close it: see docs/security-model.md.
    publicNetworkAccess: 'Enabled'
    globalParameters: globalParameters
  }
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'runs'
  scope: factory
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      for category in ['PipelineRuns', 'ActivityRuns', 'TriggerRuns']: {
        category: category
        enabled: true
      }
    ]
  }
}

output id string = factory.id
output name string = factory.name
output principalId string = factory.identity.principalId
