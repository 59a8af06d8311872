// Key Vault: the signing keys, and one secret per thing that somebody must read.
//
// A role can be given on a single secret only when that secret exists, and its value must never be in a template.
// So each secret is created once, switched off and without meaning; the operator's first real value is a new version.
// @onlyIfNotExists keeps later deployments from writing a new version over it.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param signingKeys string[]
@description('Names; each is made once, as a placeholder.')
param secrets string[]
param sku string
param workspaceId string
@allowed(['Enabled', 'SecuredByPerimeter', 'Restricted'])
param access string
param operatorIpRanges string[]
param deleteLock bool

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: sku
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: access == 'SecuredByPerimeter' ? 'SecuredByPerimeter' : 'Enabled'
    networkAcls: {
      defaultAction: access == 'Restricted' ? 'Deny' : 'Allow'
      // Data Factory reads linked-service secrets as a trusted service.
      bypass: 'AzureServices'
      ipRules: [
        for range in operatorIpRanges: {
          value: range
        }
      ]
    }
  }

  // A key that exists is left as it is by this resource type: deploying again neither rotates nor changes it.
  resource signing 'keys' = [
    for key in signingKeys: {
      name: key
      properties: {
        kty: sku == 'premium' ? 'RSA-HSM' : 'RSA'
        keySize: 3072
        keyOps: ['sign', 'verify']
        attributes: {
          enabled: true
          exportable: false
        }
      }
    }
  ]

  @onlyIfNotExists()
  resource placeholders 'secrets' = [
    for secret in secrets: {
      name: secret
      properties: {
        contentType: 'not set yet: see docs/runbook.md'
        value: 'not set yet'
        attributes: {
          enabled: false
        }
      }
    }
  ]
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (deleteLock) {
  name: 'keep'
  scope: vault
  properties: {
    level: 'CanNotDelete'
    notes: 'The signing key and the partners\' keys: remove this lock only to retire the stage.'
  }
}

output id string = vault.id
output name string = vault.name
output url string = vault.properties.vaultUri
