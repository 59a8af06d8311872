// The function app on Flex Consumption: its own identity for everything, no connection string anywhere.
import { partnerServers, tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
param identityId string
param identityClientId string
param hostAccountName string
param hostAccountBlobUrl string
param packageContainer string
param rawBlobUrl string
param encryptedBlobUrl string
param vaultUrl string
param signingKey string
param openpgpSigningKey string
param smimeSigningKey string
param partnerSftp partnerServers
param feedSources object
param insightsName string
param maximumInstances int
param instanceMemoryMB int
@description('Empty: no network of its own.')
param subnetId string
@description('true: only Data Factory and the operators reach the app.')
param restricted bool
param operatorIpRanges string[]
@description('Application (client) id of an Entra app registration; empty: function keys alone.')
param entraClientId string
@description('Object ids of who may call the app where there is an app registration.')
param callerIds string[]
@description('true: the operators\' pages are on; behind the sign-in where there is an app registration, else behind their key.')
param monitor bool
@description('The address under which people reach the app, for links in alerts; empty: Azure\'s own name.')
param publicUrl string

var operatorRules = [
  for (range, index) in operatorIpRanges: {
    name: 'operator-${index}'
    priority: 200 + index
    action: 'Allow'
    ipAddress: range
  }
]
var factoryRule = {
  name: 'data-factory'
  priority: 100
  action: 'Allow'
  tag: 'ServiceTag'
  ipAddress: 'DataFactory'
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, {
    'azd-service-name': 'app'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    outboundVnetRouting: empty(subnetId) ? null : {
      allTraffic: true
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: restricted ? 'Deny' : 'Allow'
      ipSecurityRestrictions: restricted ? concat([factoryRule], operatorRules) : []
      scmIpSecurityRestrictionsDefaultAction: restricted ? 'Deny' : 'Allow'
      scmIpSecurityRestrictions: restricted ? operatorRules : []
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostAccountBlobUrl}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemoryMB
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
    }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
  }

  // The one place that says which settings the app finds; tests/infra compares them with what the code reads.
  resource settings 'config' = {
    name: 'appsettings'
    properties: union({
      // Beside the addresses: the host reads the name where it builds its own client (a race when an instance starts).
      AzureWebJobsStorage__accountName: hostAccountName
      AzureWebJobsStorage__blobServiceUri: 'https://${hostAccountName}.blob.${environment().suffixes.storage}'
      AzureWebJobsStorage__queueServiceUri: 'https://${hostAccountName}.queue.${environment().suffixes.storage}'
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: identityClientId
      RawStorage__blobServiceUri: rawBlobUrl
      EncryptedStorage__blobServiceUri: encryptedBlobUrl
      AZURE_CLIENT_ID: identityClientId
      KEY_VAULT_URL: vaultUrl
      SIGNING_KEY: signingKey
      OPENPGP_SIGNING_KEY: openpgpSigningKey
      SMIME_SIGNING_KEY: smimeSigningKey
      APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
    }, empty(partnerSftp) ? {} : {
      PARTNER_SFTP: string(partnerSftp)
    }, empty(feedSources) ? {} : {
      FEED_SOURCES: string(feedSources)
    }, monitor ? {
      MONITOR: 'on'
    } : {}, monitor && !empty(entraClientId) ? {
      MONITOR_SIGN_IN: 'platform'
    } : {}, empty(publicUrl) ? {} : {
      PUBLIC_URL: publicUrl
    })
  }

  // With an app registration: a token of the factory, of who deploys or of an operator is needed beside the function key.
  resource signIn 'config' = if (!empty(entraClientId)) {
    name: 'authsettingsV2'
    properties: {
      platform: {
        enabled: true
      }
      globalValidation: {
        requireAuthentication: true
        unauthenticatedClientAction: 'Return401'
        excludedPaths: ['/api/health']
      }
      httpSettings: {
        requireHttps: true
      }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            clientId: entraClientId
            openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
          }
          validation: {
            allowedAudiences: [entraClientId, 'api://${entraClientId}']
            defaultAuthorizationPolicy: {
              allowedPrincipals: {
                identities: callerIds
              }
            }
          }
        }
      }
      login: {
        tokenStore: {
          enabled: false
        }
      }
    }
  }
}

output id string = site.id
output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
