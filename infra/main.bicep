// Sealift on Azure: one resource group with everything in it. `azd up` deploys it; docs/architecture.md draws it.
targetScope = 'subscription'

import { partnerSecret, partnerServers } from 'modules/types.bicep'

@description('Name of the stage in Azure: part of the resource group\'s name and of every tag.')
@minLength(1)
@maxLength(40)
param environmentName string

@minLength(1)
param location string

@description('Who gets the alerts. An alert that nobody reads is none, so there is no default.')
@minLength(3)
param alertEmail string

@description('Object id of who deploys; may set secrets. Empty: nobody.')
param principalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Name of who deploys, as Entra knows it (a user\'s sign-in name).')
param principalName string = ''

@description('The secrets that partners/*.yaml name, and who reads each. `./sealift deploy secrets` writes the file; a hook and CI compare it.')
param partnerSecrets partnerSecret[] = loadJsonContent('partner_secrets.json')

@description('Full name of dbt\'s image, best with its digest. Empty: no container group yet.')
param dbtImage string = ''

@description('false: wider built-in roles for the factory on the container group and the app on the signing key, where the deployer may not define roles.')
param useCustomRole bool = true

// -- sizes --------------------------------------------------------------------------------------------------------

@allowed(['Standard_LRS', 'Standard_ZRS'])
param storageRedundancy string = 'Standard_LRS'

@description('Days that sealed files are kept for a re-send.')
@minValue(1)
@maxValue(3650)
param sealedDays int = 30

@minValue(1)
@maxValue(365)
param softDeleteDays int = 14

@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(4)
param dbtCpu int = 1

@minValue(1)
@maxValue(16)
param dbtMemoryGb int = 2

@description('The key that signs manifests; its name is the app\'s setting.')
param signingKey string = 'sealift-signing'

@description('The key that signs OpenPGP files, and nothing else: one RSA key must not sign in two ways. Its name is the app\'s setting.')
param openpgpSigningKey string = 'sealift-openpgp'

@description('The key that signs S/MIME files, and nothing else. Its name is the app\'s setting and that of its certificate.')
param smimeSigningKey string = 'sealift-smime'

@description('While the signing key is rotated: the next one. It is made, so that partners can be given its public half; nothing uses it yet.')
param nextSigningKey string = ''

@description('Keys that signed before, which must exist: the app reads their public halves to verify old batches, and signs nothing with them.')
param oldSigningKeys string[] = []

@allowed(['standard', 'premium'])
param vaultSku string = 'standard'

@description('true: a PostgreSQL server is made. false: bring your own, named below.')
param createWarehouse bool = true

@allowed(['Burstable', 'GeneralPurpose'])
param warehouseTier string = 'Burstable'

@description('Only where createWarehouse is false.')
param warehouseHost string = ''

param warehouseDatabase string = 'warehouse'

@description('The login role of dbt, which owns the schemas that it builds.')
param dbtUser string = 'sealift_dbt'

@description('How dbt signs in: with its identity (entra), or with the password in the secret dbt-password, for a server of your own that knows no Entra.')
@allowed(['entra', 'password'])
param warehouseLogin string = createWarehouse ? 'entra' : 'password'

@description('Who administers the warehouse made here, where that is not who deploys: object id of a person or, better, a group. Empty: who deploys.')
param administratorId string = ''

@description('The name of that person or group, as Entra knows it.')
param administratorName string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
param administratorType string = 'Group'

@description('Made anew by every deployment, kept nowhere, used by nobody.')
@secure()
param warehouseAdministratorPassword string = 'Aa1-${newGuid()}'

// -- watching -----------------------------------------------------------------------------------------------------

@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@minValue(1)
param logDailyCapGb int = 1

@description('An alarm when no delivery succeeded for so many hours.')
@minValue(1)
@maxValue(47)
param noDeliveryHours int = 26

@description('Of the currency that the subscription is billed in, per month.')
@minValue(1)
param budgetAmount int = 50

@description('First day of a month. The first deployment\'s stays: it is put out, and azd brings it back.')
param budgetStart string = '${utcNow('yyyy-MM')}-01T00:00:00Z'

// -- opt-ins ------------------------------------------------------------------------------------------------------

@description('All traffic of the function app and of dbt leaves from one address that a partner can allow.')
param staticEgressIp bool = false

@description('open: identities alone guard the data. perimeter: only this subscription\'s identities. private: private endpoints.')
@allowed(['open', 'perimeter', 'private'])
param network string = 'open'

@description('Addresses (CIDR, a single one as /32) that may reach storage, vault and app where the network is not open.')
param operatorIpRanges string[] = []

@description('Days in which a sealed file cannot be changed or deleted by anybody; 0: off. Starts unlocked.')
@minValue(0)
@maxValue(3650)
param immutableDays int = 0

param customerManagedKey bool = false

@description('Client id of an Entra app registration: ADF then needs a token beside the function key.')
param entraClientId string = ''

@description('Object ids of the people and programs that may call the app beside the factory and who deploys; only with entraClientId.')
param operatorPrincipalIds string[] = []

@description('true: the operators\' pages are on, at /api/monitor.')
param monitor bool = false

@description('The address under which people reach the app, for the links of alerts: https://... Empty: Azure\'s own name.')
param publicUrl string = ''

@description('No deletion of vault and sealed files by mistake.')
param deleteLock bool = false

@description('Points the stage at other servers than the partners\' own: { <partner>: { host, port, host_keys } }.')
param partnerSftp partnerServers = {}

@description('Points the stage at other databases than sources.yaml names: { <source>: { server, database } }.')
param feedSources object = {}

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
  application: 'sealift'
}
var signingKeys = empty(nextSigningKey) ? [signingKey] : [signingKey, nextSigningKey]
var packageContainer = 'app-package'
var rawAccountName = 'straw${token}'
var encryptedAccountName = 'stenc${token}'
var hostAccountName = 'sthost${token}'
var blobSuffix = 'blob.${environment().suffixes.storage}'
var containerGroupId = '${group.id}/providers/Microsoft.ContainerInstance/containerGroups/aci-dbt-${token}'
var resourceManagerUrl = substring(environment().resourceManager, 0, length(environment().resourceManager) - 1)
var dbtStorageUrl = 'https://${hostAccountName}.${blobSuffix}'
// As adf/ declares them; the addresses of this stage are filled in here and in infra/stages.
var declared = mapValues(loadJsonContent('../adf/factory/sealift.json').properties.globalParameters, parameter => {
  type: '${toUpper(first(parameter.type))}${substring(parameter.type, 1)}'
  value: parameter.value
})
var usesVnet = staticEgressIp || network == 'private'
var access = network == 'private' ? 'Restricted' : network == 'perimeter' ? 'SecuredByPerimeter' : 'Enabled'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-sealift-${environmentName}'
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  name: 'identities'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    logRetentionDays: logRetentionDays
    logDailyCapGb: logDailyCapGb
    alertEmail: alertEmail
  }
}

module vnet 'modules/network.bicep' = if (usesVnet) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module factory 'modules/factory.bicep' = {
  name: 'factory'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    workspaceId: monitoring.outputs.workspaceId
    globalParameters: union(declared, {
      resourceManagerUrl: {
        value: resourceManagerUrl
      }
      containerGroupId: {
        value: containerGroupId
      }
      dbtStorageUrl: {
        value: dbtStorageUrl
      }
    })
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    signingKeys: union(signingKeys, [openpgpSigningKey, smimeSigningKey])
    secrets: concat(
      ['function-key', 'warehouse-password', 'alert-webhook'],
      warehouseLogin == 'password' ? ['dbt-password'] : [],
      map(partnerSecrets, secret => secret.name)
    )
    sku: vaultSku
    workspaceId: monitoring.outputs.workspaceId
    access: access
    operatorIpRanges: operatorIpRanges
    deleteLock: deleteLock
  }
}

module encryptionKey 'modules/encryption_key.bicep' = if (customerManagedKey) {
  name: 'encryption-key'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    vaultName: vault.outputs.name
  }
}

// Plaintext: nothing is kept. The app deletes each file after its receipt; the rule below catches what it could not.
module rawStorage 'modules/storage_account.bicep' = {
  name: 'storage-raw'
  scope: group
  params: {
    location: location
    tags: tags
    name: rawAccountName
    redundancy: 'Standard_LRS'
    containers: ['raw']
    softDeleteDays: 0
    lifecycleRules: [
      {
        name: 'purge-plaintext'
        type: 'Lifecycle'
        enabled: true
        definition: {
          filters: {
            blobTypes: ['blockBlob']
          }
          actions: {
            baseBlob: {
              delete: {
                daysAfterModificationGreaterThan: 1
              }
            }
          }
        }
      }
    ]
    loggedBlobOperations: ['StorageRead', 'StorageWrite', 'StorageDelete']
    workspaceId: monitoring.outputs.workspaceId
    access: access
    trustedResourceIds: network == 'private' ? [factory.outputs.id] : []
    operatorIpRanges: network == 'private' ? operatorIpRanges : []
    encryptionIdentityId: customerManagedKey ? encryptionKey!.outputs.identityId : ''
    encryptionKeyUri: customerManagedKey ? encryptionKey!.outputs.keyUri : ''
  }
}

module encryptedStorage 'modules/storage_account.bicep' = {
  name: 'storage-encrypted'
  scope: group
  params: {
    location: location
    tags: tags
    name: encryptedAccountName
    redundancy: storageRedundancy
    containers: ['encrypted', 'batches']
    softDeleteDays: softDeleteDays
    lifecycleRules: [
      {
        name: 'sealed-files'
        type: 'Lifecycle'
        enabled: true
        definition: {
          filters: {
            blobTypes: ['blockBlob']
            prefixMatch: ['encrypted/']
          }
          actions: {
            baseBlob: {
              tierToCool: {
                daysAfterModificationGreaterThan: 14
              }
              delete: {
                daysAfterModificationGreaterThan: sealedDays
              }
            }
            version: {
              delete: {
                daysAfterCreationGreaterThan: sealedDays
              }
            }
          }
        }
      }
      // Records and receipts stay: they are small, hold no data of a partner's file and prove what was delivered.
      {
        name: 'old-record-versions'
        type: 'Lifecycle'
        enabled: true
        definition: {
          filters: {
            blobTypes: ['blockBlob']
            prefixMatch: ['batches/']
          }
          actions: {
            version: {
              delete: {
                daysAfterCreationGreaterThan: sealedDays
              }
            }
          }
        }
      }
    ]
    loggedBlobOperations: ['StorageRead', 'StorageWrite', 'StorageDelete']
    workspaceId: monitoring.outputs.workspaceId
    access: access
    trustedResourceIds: network == 'private' ? [factory.outputs.id] : []
    operatorIpRanges: network == 'private' ? operatorIpRanges : []
    immutableDays: immutableDays
    immutableContainers: ['encrypted']
    encryptionIdentityId: customerManagedKey ? encryptionKey!.outputs.identityId : ''
    encryptionKeyUri: customerManagedKey ? encryptionKey!.outputs.keyUri : ''
    deleteLock: deleteLock
  }
}

module hostStorage 'modules/storage_account.bicep' = {
  name: 'storage-host'
  scope: group
  params: {
    location: location
    tags: tags
    name: hostAccountName
    redundancy: storageRedundancy
    containers: ['dbt', packageContainer]
    queues: ['seal', 'deliver', 'seal-poison', 'deliver-poison']
    softDeleteDays: softDeleteDays
    lifecycleRules: [
      {
        name: 'old-dbt-runs'
        type: 'Lifecycle'
        enabled: true
        definition: {
          filters: {
            blobTypes: ['blockBlob']
            prefixMatch: ['dbt/requests/', 'dbt/runs/']
          }
          actions: {
            baseBlob: {
              delete: {
                daysAfterModificationGreaterThan: 90
              }
            }
            version: {
              delete: {
                daysAfterCreationGreaterThan: 14
              }
            }
          }
        }
      }
    ]
    loggedBlobOperations: ['StorageDelete']
    loggedQueueOperations: ['StorageWrite']
    workspaceId: monitoring.outputs.workspaceId
    access: access
    trustedResourceIds: network == 'private' ? [factory.outputs.id] : []
    operatorIpRanges: network == 'private' ? operatorIpRanges : []
    encryptionIdentityId: customerManagedKey ? encryptionKey!.outputs.identityId : ''
    encryptionKeyUri: customerManagedKey ? encryptionKey!.outputs.keyUri : ''
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    workspaceId: monitoring.outputs.workspaceId
  }
}

module warehouse 'modules/warehouse.bicep' = if (createWarehouse) {
  name: 'warehouse'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    tier: warehouseTier
    administratorId: empty(administratorId) ? principalId : administratorId
    administratorName: empty(administratorId) ? principalName : administratorName
    administratorType: empty(administratorId) ? principalType : administratorType
    administratorPassword: warehouseAdministratorPassword
    operatorIpRanges: operatorIpRanges
    workspaceId: monitoring.outputs.workspaceId
  }
}

module app 'modules/function_app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    identityId: identities.outputs.appId
    identityClientId: identities.outputs.appClientId
    hostAccountName: hostStorage.outputs.name
    hostAccountBlobUrl: hostStorage.outputs.blobUrl
    packageContainer: packageContainer
    rawBlobUrl: rawStorage.outputs.blobUrl
    encryptedBlobUrl: encryptedStorage.outputs.blobUrl
    vaultUrl: vault.outputs.url
    signingKey: signingKey
    openpgpSigningKey: openpgpSigningKey
    smimeSigningKey: smimeSigningKey
    partnerSftp: partnerSftp
    feedSources: feedSources
    insightsName: monitoring.outputs.insightsName
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    subnetId: usesVnet ? vnet!.outputs.appSubnetId : ''
    restricted: network == 'private'
    operatorIpRanges: operatorIpRanges
    entraClientId: entraClientId
    monitor: monitor
    publicUrl: publicUrl
    callerIds: concat([factory.outputs.principalId], empty(principalId) ? [] : [principalId], operatorPrincipalIds)
  }
  // The app's grants come first: an app that starts without them has to be started again.
  dependsOn: [grants]
}

module grants 'modules/access.bicep' = {
  name: 'access'
  scope: group
  params: {
    rawAccountName: rawStorage.outputs.name
    encryptedAccountName: encryptedStorage.outputs.name
    hostAccountName: hostStorage.outputs.name
    packageContainer: packageContainer
    vaultName: vault.outputs.name
    signingKeys: signingKeys
    oldSigningKeys: oldSigningKeys
    openpgpSigningKey: openpgpSigningKey
    smimeSigningKey: smimeSigningKey
    partnerSecrets: partnerSecrets
    registryName: registry.outputs.name
    insightsName: monitoring.outputs.insightsName
    appPrincipalId: identities.outputs.appPrincipalId
    factoryPrincipalId: factory.outputs.principalId
    dbtPrincipalId: identities.outputs.dbtPrincipalId
    dbtReadsPassword: warehouseLogin == 'password'
    deployerId: principalId
    deployerType: principalType
    useCustomRole: useCustomRole
  }
}

module dbt 'modules/container_group.bicep' = if (!empty(dbtImage)) {
  name: 'container-group'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    image: dbtImage
    registryServer: registry.outputs.loginServer
    identityId: identities.outputs.dbtId
    identityClientId: identities.outputs.dbtClientId
    storageUrl: dbtStorageUrl
    container: 'dbt'
    warehouseLogin: warehouseLogin == 'password' ? '${vault.outputs.url}secrets/dbt-password' : 'entra'
    warehouseHost: createWarehouse ? warehouse!.outputs.host : warehouseHost
    warehouseDatabase: warehouseDatabase
    warehouseUser: dbtUser
    cpu: dbtCpu
    memoryGb: dbtMemoryGb
    subnetId: usesVnet ? vnet!.outputs.dbtSubnetId : ''
  }
  // Without the pull grant the group fails, and a failed group must be deleted by hand.
  dependsOn: [grants]
}

module dbtGrant 'modules/container_group_access.bicep' = if (!empty(dbtImage)) {
  name: 'container-group-access'
  scope: group
  params: {
    containerGroupName: dbt!.outputs.name
    factoryPrincipalId: factory.outputs.principalId
    useCustomRole: useCustomRole
  }
}

module privateEndpoints 'modules/private_endpoints.bicep' = if (network == 'private') {
  name: 'private-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    vnetId: vnet!.outputs.vnetId
    subnetId: vnet!.outputs.endpointSubnetId
    targets: [
      {
        name: 'raw'
        resourceId: rawStorage.outputs.id
        part: 'blob'
      }
      {
        name: 'encrypted'
        resourceId: encryptedStorage.outputs.id
        part: 'blob'
      }
      {
        name: 'host-blob'
        resourceId: hostStorage.outputs.id
        part: 'blob'
      }
      {
        name: 'host-queue'
        resourceId: hostStorage.outputs.id
        part: 'queue'
      }
      {
        name: 'vault'
        resourceId: vault.outputs.id
        part: 'vault'
      }
    ]
  }
}

module perimeter 'modules/perimeter.bicep' = if (network == 'perimeter') {
  name: 'perimeter'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    operatorIpRanges: operatorIpRanges
    targets: [
      {
        name: 'raw'
        resourceId: rawStorage.outputs.id
      }
      {
        name: 'encrypted'
        resourceId: encryptedStorage.outputs.id
      }
      {
        name: 'host'
        resourceId: hostStorage.outputs.id
      }
      {
        name: 'vault'
        resourceId: vault.outputs.id
      }
    ]
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    factoryId: factory.outputs.id
    workspaceId: monitoring.outputs.workspaceId
    vaultId: vault.outputs.id
    actionGroupId: monitoring.outputs.actionGroupId
    noDeliveryHours: noDeliveryHours
  }
}

module budget 'modules/budget.bicep' = {
  name: 'budget'
  scope: group
  params: {
    name: 'sealift-${environmentName}'
    amount: budgetAmount
    startDate: budgetStart
    alertEmail: alertEmail
    actionGroupId: monitoring.outputs.actionGroupId
  }
}

// What the hooks and `./sealift deploy` read: names and addresses, never a secret.
output AZURE_LOCATION string = location
output SEALIFT_RESOURCE_MANAGER_URL string = resourceManagerUrl
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_NAME string = registry.outputs.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.loginServer
output SEALIFT_FACTORY_ID string = factory.outputs.id
output SEALIFT_FUNCTION_APP_ID string = app.outputs.id
output SEALIFT_FUNCTION_APP_URL string = app.outputs.url
output SEALIFT_KEY_VAULT_URL string = vault.outputs.url
output SEALIFT_RAW_STORAGE_URL string = rawStorage.outputs.blobUrl
output SEALIFT_ENCRYPTED_STORAGE_URL string = encryptedStorage.outputs.blobUrl
output SEALIFT_DBT_STORAGE_URL string = dbtStorageUrl
output SEALIFT_HOST_STORAGE_URL string = hostStorage.outputs.blobUrl
output SEALIFT_PACKAGE_CONTAINER string = packageContainer
output SEALIFT_CONTAINER_GROUP_ID string = containerGroupId
output SEALIFT_WAREHOUSE_HOST string = createWarehouse ? warehouse!.outputs.host : warehouseHost
output SEALIFT_WAREHOUSE_DATABASE string = warehouseDatabase
output SEALIFT_DBT_USER string = dbtUser
output SEALIFT_WAREHOUSE_TAKES_ENTRA bool = warehouseLogin == 'entra'
output SEALIFT_DBT_PRINCIPAL_ID string = identities.outputs.dbtPrincipalId
// Back to azd, so that the next deployment, also from a fresh environment, says the same.
output SEALIFT_DBT_IMAGE string = dbtImage
output SEALIFT_BUDGET_START string = budgetStart
output SEALIFT_EGRESS_IP string = usesVnet ? vnet!.outputs.egressIp : ''
