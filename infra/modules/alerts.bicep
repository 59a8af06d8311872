// Four questions that somebody must be woken for: did a run fail, did nothing arrive, is a message in a poison
// queue, is a certificate about to end.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param factoryId string
param workspaceId string
param vaultId string
param actionGroupId string
param noDeliveryHours int

resource failed 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'failed-pipeline-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'A pipeline run failed. docs/runbook.md: "A run is red".'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [factoryId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed-runs'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'PipelineFailedRuns'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}

// The dead man's switch: a stopped trigger fails nothing, so silence itself must be an alarm.
resource silence 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'no-delivery-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Nothing was delivered for ${noDeliveryHours} hours'
    description: 'The app logged no delivery. docs/runbook.md: "Nothing was delivered".'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT1H'
    windowSize: 'P1D'
    overrideQueryTimeRange: 'P2D'
    // The table appears with the first run; the rule must be deployable before it, and fire without it.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          // The empty table in the union: the very first night is watched too, when Azure has made no table yet.
          query: 'union isfuzzy=true (datatable(TimeGenerated: datetime, Message: string)[]), AppTraces | where TimeGenerated > ago(${noDeliveryHours}h) | where Message has "batch.delivered" or Message has "batch.purged" | summarize Delivered = count() | where Delivered == 0'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [actionGroupId]
    }
  }
}

resource poison 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'poison-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'A file could not be sealed or delivered'
    description: 'A message went to a poison queue: five attempts failed. docs/runbook.md: "A file is stuck".'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    // Resource logs arrive up to ten minutes late: a window of five would miss most of them.
    windowSize: 'PT30M'
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: 'StorageQueueLogs | where OperationName == "PutMessage" and StatusCode startswith "2" and Uri has "-poison"'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [actionGroupId]
    }
  }
}

// The app says so in its log from 30 days before, each time that it seals for a certificate that ends soon.
resource certificate 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'certificate-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'A partner\'s certificate is about to end'
    description: 'docs/runbook.md: "Rotate a certificate".'
    severity: 2
    enabled: true
    autoMitigate: false
    muteActionsDuration: 'P1D'
    scopes: [workspaceId]
    evaluationFrequency: 'PT1H'
    windowSize: 'PT1H'
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: 'AppTraces | where Message startswith "secret \'" and Message has "ends in"'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [actionGroupId]
    }
  }
}

// The same from the vault, which needs no delivery to notice: where a secret carries its certificate's end as its own
// expiry date, the vault reports it 30 days ahead.
resource vaultEvents 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgt-${token}'
  location: location
  tags: tags
  properties: {
    source: vaultId
    topicType: 'Microsoft.KeyVault.vaults'
  }

  resource expiry 'eventSubscriptions' = {
    name: 'certificate-expiry'
    properties: {
      eventDeliverySchema: 'CloudEventSchemaV1_0'
      filter: {
        includedEventTypes: [
          'Microsoft.KeyVault.SecretNearExpiry'
          'Microsoft.KeyVault.SecretExpired'
          'Microsoft.KeyVault.KeyNearExpiry'
        ]
      }
      destination: {
        endpointType: 'MonitorAlert'
        properties: {
          severity: 'Sev2'
          description: 'A certificate or key in the vault is about to end. docs/runbook.md: "Rotate a certificate".'
          actionGroups: [actionGroupId]
        }
      }
    }
  }
}
