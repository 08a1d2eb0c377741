// The private zones of one region's network. Each region has its own: the same service has another
// private address in each network, and a shared zone would know only one of them.
param tags object
param networkId string

var storageHost = environment().suffixes.storage
var zoneNames = [
  'privatelink.blob.${storageHost}'
  'privatelink.queue.${storageHost}'
  'privatelink.table.${storageHost}'
  'privatelink.file.${storageHost}'
  'privatelink.servicebus.windows.net'
  'privatelink.azurewebsites.net'
  'privatelink.vaultcore.azure.net'
  'privatelink.azconfig.io'
  'privatelink.openai.azure.com'
  'privatelink.cognitiveservices.azure.com'
  'privatelink.api.azureml.ms'
  'privatelink.notebooks.azure.net'
  'privatelink.azurecr.io'
  'privatelink.durabletask.io'
]

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for name in zoneNames: {
  name: name
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (name, index) in zoneNames: {
  parent: zone[index]
  name: 'network'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: networkId }
  }
}]
