// Who may do what: every grant but those on the container group and on the customer-managed key, each at the smallest scope that
// works and each with its reason. docs/roles.md and infra/access_matrix.json are made from this file.
import { partnerSecret } from 'types.bicep'

param rawAccountName string
param encryptedAccountName string
param hostAccountName string
param packageContainer string
param vaultName string
@description('The first one is in use; the app may not sign with another.')
param signingKeys string[]
param oldSigningKeys string[]
param openpgpSigningKey string
param smimeSigningKey string
param partnerSecrets partnerSecret[]
param registryName string
param insightsName string
param appPrincipalId string
param factoryPrincipalId string
param dbtPrincipalId string
@description('true: dbt signs in at the warehouse with the secret dbt-password.')
param dbtReadsPassword bool
@description('Object id of who deploys; empty: nobody gets a grant.')
param deployerId string
param deployerType string
@description('false: use a wider built-in role where the deployer may not define roles.')
param useCustomRole bool

var readByApp = filter(partnerSecrets, secret => contains(secret.readers, 'app'))
var readByFactory = filter(partnerSecrets, secret => contains(secret.readers, 'factory'))
var factoryReasons = {
  'sftp-key': 'The adf route signs in at the server of'
  'source-password': 'Extract signs in at the SQL Server that has a feed of'
}
var reasons = {
  certificate: 'Seal wraps file keys for the certificate of'
  escrow: 'Seal wraps file keys also for the company\'s own escrow certificate, for'
  'sftp-key': 'The function route and the look for answers sign in with this key at the server of'
  'sftp-password': 'The function route and the look for answers sign in with this password at the server of'
}

var rolePath = 'Microsoft.Authorization/roleDefinitions'
var roles = {
  blobOwner: subscriptionResourceId(rolePath, 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b')
  blobContributor: subscriptionResourceId(rolePath, 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
  blobReader: subscriptionResourceId(rolePath, '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1')
  queueContributor: subscriptionResourceId(rolePath, '974c5e8b-45b9-4653-ba55-5f855dd0fb88')
  secretsUser: subscriptionResourceId(rolePath, '4633458b-17de-408a-b874-0445c86b69e6')
  secretsOfficer: subscriptionResourceId(rolePath, 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
  cryptoUser: subscriptionResourceId(rolePath, '12338af0-0e69-4776-bea7-57ae8d297424')
  vaultReader: subscriptionResourceId(rolePath, '21090545-7ca7-4776-b22c-e363652d74d2')
  metricsPublisher: subscriptionResourceId(rolePath, '3913510d-42f4-4e42-8a64-420c390055eb')
  acrPull: subscriptionResourceId(rolePath, '7f951dda-4ed3-4680-a7ca-43fe172d538d')
}

resource rawAccount 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: rawAccountName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource raw 'containers' existing = {
      name: 'raw'
    }
  }
}

resource encryptedAccount 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: encryptedAccountName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource encrypted 'containers' existing = {
      name: 'encrypted'
    }

    resource batches 'containers' existing = {
      name: 'batches'
    }
  }
}

resource hostAccount 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: hostAccountName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource dbt 'containers' existing = {
      name: 'dbt'
    }

    resource package 'containers' existing = {
      name: packageContainer
    }
  }
}

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName

  resource signing 'keys' existing = [
    for key in signingKeys: {
      name: key
    }
  ]

  resource oldSigning 'keys' existing = [
    for key in oldSigningKeys: {
      name: key
    }
  ]

  resource openpgpSigning 'keys' existing = {
    name: openpgpSigningKey
  }
  resource smimeSigning 'keys' existing = {
    name: smimeSigningKey
  }

  resource functionKey 'secrets' existing = {
    name: 'function-key'
  }

  resource warehousePassword 'secrets' existing = {
    name: 'warehouse-password'
  }

  resource dbtPassword 'secrets' existing = {
    name: 'dbt-password'
  }

  resource alertWebhook 'secrets' existing = {
    name: 'alert-webhook'
  }

  resource ofApp 'secrets' existing = [
    for secret in readByApp: {
      name: secret.name
    }
  ]

  resource ofFactory 'secrets' existing = [
    for secret in readByFactory: {
      name: secret.name
    }
  ]
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// -- the function app ---------------------------------------------------------------------------------------------

resource appHostBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostAccount.id, 'app', roles.blobOwner)
  scope: hostAccount
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobOwner
    description: 'The Functions host keeps its leases, keys and the package here; Azure asks for this role on the account.'
  }
}

resource appHostQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostAccount.id, 'app', roles.queueContributor)
  scope: hostAccount
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.queueContributor
    description: 'The queues seal and deliver and their poison queues, which the host makes and the app fills.'
  }
}

resource appRaw 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rawAccount::blobs::raw.id, 'app', roles.blobContributor)
  scope: rawAccount::blobs::raw
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'Seal reads the plaintext, Confirm deletes it.'
  }
}

resource appEncrypted 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(encryptedAccount::blobs::encrypted.id, 'app', roles.blobContributor)
  scope: encryptedAccount::blobs::encrypted
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'Seal writes the sealed files, the keys and the manifest; Deliver reads them.'
  }
}

resource appBatches 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(encryptedAccount::blobs::batches.id, 'app', roles.blobContributor)
  scope: encryptedAccount::blobs::batches
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'The record of every batch: plan, results, receipt.'
  }
}

// Key Vault Crypto User may also change the key's operations, switch it off and take a backup of it.
resource signManifests 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (useCustomRole) {
  name: guid(resourceGroup().id, 'sign-manifests')
  properties: {
    roleName: 'Sealift manifest signer (${uniqueString(resourceGroup().id)})'
    description: 'Signs with a key and reads its public half; cannot change, back up or otherwise use it.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/keys/read'
          'Microsoft.KeyVault/vaults/keys/sign/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource appSigning 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::signing[0].id, 'app', useCustomRole ? 'custom' : roles.cryptoUser)
  scope: vault::signing[0]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: useCustomRole ? signManifests.id : roles.cryptoUser
    description: 'Signs manifests inside the vault; the key itself cannot be read.'
  }
}

resource appOpenpgpSigning 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::openpgpSigning.id, 'app', useCustomRole ? 'custom' : roles.cryptoUser)
  scope: vault::openpgpSigning
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: useCustomRole ? signManifests.id : roles.cryptoUser
    description: 'Signs OpenPGP files inside the vault, with a key that signs nothing else.'
  }
}

resource appSmimeSigning 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::smimeSigning.id, 'app', useCustomRole ? 'custom' : roles.cryptoUser)
  scope: vault::smimeSigning
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: useCustomRole ? signManifests.id : roles.cryptoUser
    description: 'Signs S/MIME files inside the vault, with a key that signs nothing else.'
  }
}

resource appOldSigning 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (key, index) in oldSigningKeys: {
    name: guid(vault::oldSigning[index].id, 'app', roles.vaultReader)
    scope: vault::oldSigning[index]
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roles.vaultReader
      description: 'Verifies the manifests that ${key} signed while it was in use.'
    }
  }
]

resource appPartnerSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (secret, index) in readByApp: {
    name: guid(vault::ofApp[index].id, 'app', roles.secretsUser)
    scope: vault::ofApp[index]
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roles.secretsUser
      description: '${reasons[secret.kind]} ${join(secret.partners, ', ')}.'
    }
  }
]

resource appAlertWebhook 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::alertWebhook.id, 'app', roles.secretsUser)
  scope: vault::alertWebhook
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.secretsUser
    description: 'The timer posts alerts of late, missing and failed feeds to this address.'
  }
}

resource appTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, 'app', roles.metricsPublisher)
  scope: insights
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.metricsPublisher
    description: 'Sends traces with its identity; keys are off in Application Insights.'
  }
}

// -- the factory --------------------------------------------------------------------------------------------------

resource factoryRaw 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rawAccount::blobs::raw.id, 'factory', roles.blobContributor)
  scope: rawAccount::blobs::raw
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'Extract writes the plaintext files.'
  }
}

resource factoryEncrypted 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(encryptedAccount::blobs::encrypted.id, 'factory', roles.blobReader)
  scope: encryptedAccount::blobs::encrypted
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobReader
    description: 'Deliver copies the sealed files to the partner; the factory can never change one.'
  }
}

resource factoryDbt 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostAccount::blobs::dbt.id, 'factory', roles.blobContributor)
  scope: hostAccount::blobs::dbt
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'Writes the request of a dbt run and reads its summary.'
  }
}

resource factoryFunctionKey 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::functionKey.id, 'factory', roles.secretsUser)
  scope: vault::functionKey
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.secretsUser
    description: 'Calls the function app.'
  }
}

resource factoryWarehouse 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::warehousePassword.id, 'factory', roles.secretsUser)
  scope: vault::warehousePassword
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.secretsUser
    description: 'Extract signs in at the warehouse, as a role that reads marts only.'
  }
}

resource factoryPartnerSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (secret, index) in readByFactory: {
    name: guid(vault::ofFactory[index].id, 'factory', roles.secretsUser)
    scope: vault::ofFactory[index]
    properties: {
      principalId: factoryPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roles.secretsUser
      description: '${factoryReasons[secret.kind]} ${join(secret.partners, ', ')}.'
    }
  }
]

// -- dbt ----------------------------------------------------------------------------------------------------------

resource dbtImage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, 'dbt', roles.acrPull)
  scope: registry
  properties: {
    principalId: dbtPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.acrPull
    description: 'The container group pulls its image.'
  }
}

resource dbtArtifacts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostAccount::blobs::dbt.id, 'dbt', roles.blobContributor)
  scope: hostAccount::blobs::dbt
  properties: {
    principalId: dbtPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.blobContributor
    description: 'Claims a request, keeps dbt state, writes logs and the summary.'
  }
}

resource dbtWarehouse 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (dbtReadsPassword) {
  name: guid(vault::dbtPassword.id, 'dbt', roles.secretsUser)
  scope: vault::dbtPassword
  properties: {
    principalId: dbtPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles.secretsUser
    description: 'Signs in at the warehouse, as the role that owns the dbt schemas.'
  }
}

// -- who deploys --------------------------------------------------------------------------------------------------

resource deployerSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerId)) {
  name: guid(vault.id, deployerId, roles.secretsOfficer)
  scope: vault
  properties: {
    principalId: deployerId
    principalType: deployerType
    roleDefinitionId: roles.secretsOfficer
    description: 'Puts the function key and the partners\' secrets into the vault.'
  }
}

resource deployerSigning 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (key, index) in signingKeys: if (!empty(deployerId)) {
    name: guid(vault::signing[index].id, deployerId, roles.vaultReader)
    scope: vault::signing[index]
    properties: {
      principalId: deployerId
      principalType: deployerType
      roleDefinitionId: roles.vaultReader
      description: 'Reads the public half of ${key} for the partners.'
    }
  }
]

resource deployerPackage 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerId)) {
  name: guid(hostAccount::blobs::package.id, deployerId, roles.blobContributor)
  scope: hostAccount::blobs::package
  properties: {
    principalId: deployerId
    principalType: deployerType
    roleDefinitionId: roles.blobContributor
    description: 'The predeploy hook writes and deletes a probe blob until grants work.'
  }
}
