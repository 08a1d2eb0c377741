// One storage account without keys, its containers, and when what is in them is deleted.
param name string
param location string
param tags object
param sku string
param isPrivate bool
param subnetId string

@description('blob, queue, table, file: each gets a private endpoint.')
param services array

@description('Each with name and deleteAfterDays; 0 keeps what is in it. immutableDays: it can only be added to.')
param containers array
param workspaceId string

@description('Whether it is encrypted with a key of the vault, instead of one of Microsoft.')
param hasOwnKey bool = false
param keyIdentityId string = ''
param keyVaultUri string = ''
param keyName string = ''

var passing = filter(containers, each => each.deleteAfterDays > 0)

var ownKey = {
  keySource: 'Microsoft.Keyvault'
  identity: { userAssignedIdentity: keyIdentityId }
  // Without a version: a key that is rotated is taken up by itself.
  keyvaultproperties: { keyvaulturi: keyVaultUri, keyname: keyName }
}
var identities = { type: 'UserAssigned', userAssignedIdentities: { '${keyIdentityId}': {} } }

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  identity: hasOwnKey ? identities : { type: 'None' }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: { defaultAction: isPrivate ? 'Deny' : 'Allow', bypass: 'AzureServices' }
    encryption: union(hasOwnKey ? ownKey : { keySource: 'Microsoft.Storage' }, {
      requireInfrastructureEncryption: true
      services: {
        blob: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: 'Account' }
        table: { enabled: true, keyType: 'Account' }
        file: { enabled: true, keyType: 'Account' }
      }
    })
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 7 }
    containerDeleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [for each in containers: {
  parent: blobs
  name: each.name
  properties: { publicAccess: 'None' }
}]

// What was written stays as it is for so long; appending to it is allowed. Not locked: whoever may
// manage the account can still lift it.
resource immutability 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-01-01' = [for (each, index) in containers: if (contains(each, 'immutableDays')) {
  parent: container[index]
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: each.immutableDays
    allowProtectedAppendWrites: true
  }
}]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = if (!empty(passing)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: map(passing, each => {
        name: 'delete-${each.name}'
        enabled: true
        type: 'Lifecycle'
        definition: {
          filters: { blobTypes: ['blockBlob', 'appendBlob'], prefixMatch: ['${each.name}/'] }
          actions: {
            baseBlob: { delete: { daysAfterModificationGreaterThan: each.deleteAfterDays } }
          }
        }
      })
    }
  }
}

module endpoints 'private-endpoint.bicep' = [for service in services: if (isPrivate) {
  name: 'endpoint-${name}-${service}'
  params: {
    name: 'pe-${name}-${service}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: account.id
    groupId: service
    zoneNames: ['privatelink.${service}.${environment().suffixes.storage}']
  }
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    // Reads are the bulk of all requests, and of the bill; who wrote and who deleted is kept.
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

output id string = account.id
