// One storage account. Soft delete and versioning are set per account, so plaintext, sealed files and the
// function host's own data each get one.
import { blobRule, tagMap } from 'types.bicep'

param location string
param tags tagMap
param name string
param redundancy string
param containers string[]
param queues string[] = []
@description('0 turns soft delete and versioning off: what is deleted here is gone.')
param softDeleteDays int
param lifecycleRules blobRule[]
@description('Blob and queue operations that are logged.')
param loggedBlobOperations string[]
param loggedQueueOperations string[] = []
param workspaceId string
@description('Enabled, SecuredByPerimeter, or Restricted (only the rules below and private endpoints).')
@allowed(['Enabled', 'SecuredByPerimeter', 'Restricted'])
param access string
@description('Resources whose managed identity passes a restricted firewall: the factory.')
param trustedResourceIds string[]
param operatorIpRanges string[]
@description('Days in which a sealed file can be neither changed nor deleted; 0: off. Holds for the containers named below.')
param immutableDays int = 0
param immutableContainers string[] = []
param encryptionIdentityId string = ''
param encryptionKeyUri string = ''
param deleteLock bool = false

var keepsHistory = softDeleteDays > 0
// The storage firewall takes no /31 and no /32, only the single addresses; everything else here takes only prefixes.
var operatorAddresses = flatten(map(operatorIpRanges, range => endsWith(range, '/31') ? [
  first(split(cidrSubnet(range, 32, 0), '/'))
  first(split(cidrSubnet(range, 32, 1), '/'))
] : [endsWith(range, '/32') ? first(split(range, '/')) : range]))
var usesOwnKey = !empty(encryptionIdentityId)

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  identity: usesOwnKey ? {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${encryptionIdentityId}': {}
    }
  } : {
    type: 'None'
  }
  properties: {
    accessTier: 'Hot'
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowedCopyScope: 'AAD'
    isLocalUserEnabled: false
    isSftpEnabled: false
    sasPolicy: {
      expirationAction: 'Block'
      sasExpirationPeriod: '0.01:00:00'
    }
    publicNetworkAccess: access == 'SecuredByPerimeter' ? 'SecuredByPerimeter' : 'Enabled'
    networkAcls: {
      defaultAction: access == 'Restricted' ? 'Deny' : 'Allow'
      bypass: 'None'
      resourceAccessRules: [
        for id in trustedResourceIds: {
          resourceId: id
          tenantId: subscription().tenantId
        }
      ]
      ipRules: [
        for address in operatorAddresses: {
          action: 'Allow'
          value: address
        }
      ]
    }
    encryption: usesOwnKey ? {
      keySource: 'Microsoft.Keyvault'
      identity: {
        userAssignedIdentity: encryptionIdentityId
      }
      keyvaultproperties: {
        keyname: last(split(encryptionKeyUri, '/'))
        keyvaulturi: first(split(encryptionKeyUri, '/keys/'))
      }
      services: {
        blob: {
          enabled: true
          keyType: 'Account'
        }
        queue: {
          enabled: true
          keyType: 'Account'
        }
      }
    } : {
      keySource: 'Microsoft.Storage'
      services: {
        blob: {
          enabled: true
          keyType: 'Account'
        }
        queue: {
          enabled: true
          keyType: 'Account'
        }
      }
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      isVersioningEnabled: keepsHistory
      deleteRetentionPolicy: keepsHistory ? {
        enabled: true
        days: softDeleteDays
      } : {
        enabled: false
      }
      containerDeleteRetentionPolicy: keepsHistory ? {
        enabled: true
        days: softDeleteDays
      } : {
        enabled: false
      }
    }

    resource made 'containers' = [
      for container in containers: {
        name: container
        properties: {
          publicAccess: 'None'
          immutableStorageWithVersioning: immutableDays > 0 && contains(immutableContainers, container) ? {
            enabled: true
          } : null
        }
      }
    ]
  }

  resource queueService 'queueServices' = if (!empty(queues)) {
    name: 'default'

    resource made 'queues' = [
      for queue in queues: {
        name: queue
      }
    ]
  }

  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: {
      policy: {
        rules: lifecycleRules
      }
    }
  }
}

resource immutable 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-06-01' = [
  for (container, index) in containers: if (immutableDays > 0 && contains(immutableContainers, container)) {
    parent: account::blobs::made[index]
    name: 'default'
    properties: {
      immutabilityPeriodSinceCreationInDays: immutableDays
      allowProtectedAppendWrites: false
    }
  }
]

resource blobLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: account::blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      for category in loggedBlobOperations: {
        category: category
        enabled: true
      }
    ]
  }
}

resource queueLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(queues)) {
  name: 'logs'
  scope: account::queueService
  properties: {
    workspaceId: workspaceId
    logs: [
      for category in loggedQueueOperations: {
        category: category
        enabled: true
      }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (deleteLock) {
  name: 'keep'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'Sealed files and delivery records: remove this lock only to retire the stage.'
  }
}

output id string = account.id
output name string = account.name
output blobUrl string = account.properties.primaryEndpoints.blob
