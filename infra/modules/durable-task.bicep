// Durable Task Scheduler: keeps the state of orchestrations in place of Azure Storage.
param name string
param location string
param tags object
param isPrivate bool
param subnetId string
param taskHub string

@description('Consumption, or Dedicated with so many units; three of them outlast a zone.')
param sku string
param capacity int

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: sku == 'Dedicated' ? { name: sku, capacity: capacity } : { name: sku }
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    ipAllowlist: isPrivate ? [] : ['0.0.0.0/0']
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: taskHub
  properties: {}
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-${name}'
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: scheduler.id
    groupId: 'scheduler'
    zoneNames: ['privatelink.durabletask.io']
  }
}

output endpoint string = scheduler.properties.endpoint
