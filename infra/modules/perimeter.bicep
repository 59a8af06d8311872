// The opt-in network security perimeter: storage and vault answer only to identities of this subscription and to the
// operators' addresses. Costs nothing and needs no network; what it does not do is hide the public names.
import { guardedResource, tagMap } from 'types.bicep'

param location string
param tags tagMap
param token string
@description('{ name, resourceId }')
param targets guardedResource[]
param operatorIpRanges string[]

resource perimeter 'Microsoft.Network/networkSecurityPerimeters@2025-05-01' = {
  name: 'nsp-${token}'
  location: location
  tags: tags

  resource profile 'profiles' = {
    name: 'sealift'

    resource ownSubscription 'accessRules' = {
      name: 'own-subscription'
      properties: {
        direction: 'Inbound'
        subscriptions: [
          {
            id: subscription().id
          }
        ]
      }
    }

    resource operators 'accessRules' = if (!empty(operatorIpRanges)) {
      name: 'operators'
      properties: {
        direction: 'Inbound'
        addressPrefixes: operatorIpRanges
      }
    }
  }

  // The service takes one association at a time.
  @batchSize(1)
  resource members 'resourceAssociations' = [
    for target in targets: {
      name: target.name
      properties: {
        accessMode: 'Enforced'
        privateLinkResource: {
          id: target.resourceId
        }
        profile: {
          id: profile.id
        }
      }
    }
  ]
}
