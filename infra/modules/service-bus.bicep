// The namespace and its queues. What a queue is comes from infra/contract.json.
param name string
param location string
param tags object

@allowed(['Standard', 'Premium'])
param sku string
param capacity int
param isPrivate bool

@description('Regions that keep a copy of queues and messages; Premium only.')
param replicas array
param queues array
param replyQueue object
param replyQueueNames array
param workspaceId string

var isPremium = sku == 'Premium'
var allQueues = concat(queues, map(replyQueueNames, each => union(replyQueue, { name: each })))
var replication = {
  geoDataReplication: {
    // What is accepted is written in both regions first: no accepted message is lost with one.
    maxReplicationLagDurationInSeconds: 0
    locations: concat(
      [{ locationName: location, roleType: 'Primary' }],
      map(replicas, region => { locationName: region, roleType: 'Secondary' })
    )
  }
}

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: name
  location: location
  tags: tags
  sku: isPremium ? { name: sku, tier: sku, capacity: capacity } : { name: sku, tier: sku }
  properties: union(
    {
      disableLocalAuth: true
      minimumTlsVersion: '1.2'
      publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    },
    isPremium ? { zoneRedundant: true, premiumMessagingPartitions: 1 } : {},
    empty(replicas) ? {} : replication
  )
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' = [for each in allQueues: {
  parent: namespace
  name: each.name
  properties: {
    lockDuration: each.lockDuration
    maxDeliveryCount: each.maxDeliveryCount
    requiresDuplicateDetection: each.requiresDuplicateDetection
    duplicateDetectionHistoryTimeWindow: each.duplicateDetectionHistoryTimeWindow
    defaultMessageTimeToLive: each.defaultMessageTimeToLive
    deadLetteringOnMessageExpiration: true
    requiresSession: false
    maxSizeInMegabytes: 5120
  }
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = namespace.id
output host string = '${name}.servicebus.windows.net'
