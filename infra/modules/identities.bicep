// One user-assigned identity per program that runs. The factory has its own, system-assigned one.
import { tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-app-${token}'
  location: location
  tags: tags
}

resource dbt 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-dbt-${token}'
  location: location
  tags: tags
}

output appId string = app.id
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId
output dbtId string = dbt.id
output dbtClientId string = dbt.properties.clientId
output dbtPrincipalId string = dbt.properties.principalId
