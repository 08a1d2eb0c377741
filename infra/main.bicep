// The whole deployment: what all regions share, and a stamp of everything else in each region.
targetScope = 'subscription'

@description('Name of this deployment: part of every resource group, and a tag.')
@minLength(1)
@maxLength(20)
param environmentName string

@description('The first region: where calls go while it is well.')
@minLength(1)
param location string

@description('Further regions, separated by commas; each gets a stamp that stands by.')
param otherRegions string = ''

@description('How large: infra/sizes.json says what each means.')
@allowed(['smallest', 'reference'])
param size string = 'reference'

@description('private: every service behind a private endpoint. public: public endpoints, but identities only.')
@allowed(['private', 'public'])
param network string = 'private'

@description('What the Functions app runs on.')
@allowed(['flexConsumption', 'elasticPremium'])
param plan string = 'flexConsumption'

@description('Where Durable Functions keep their state.')
@allowed(['azureStorage', 'durableTaskScheduler'])
param durableBackend string = 'azureStorage'

@description('How calls leave the network: freely by one address, or through a firewall that knows the hosts.')
@allowed(['nat', 'firewall'])
param egress string = 'nat'

@description('Whether Front Door with a web application firewall stands before the app.')
param frontDoor bool = true

@description('Whether blobs put into the container of batch inputs become batches. Admits Event Grid to the app.')
param blobDoor bool = false

@description('Address ranges that may deploy from outside the network, separated by commas.')
param deployerAddresses string = ''

@description('Object id of the person or group that operates this; empty for nobody.')
param operatorId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
param operatorType string = 'User'

@description('Object id of the service principal that a pipeline deploys with; empty for none.')
param deployerId string = ''

@description('Queues for replies besides inference-results, separated by commas; each ends in -replies.')
param replyQueues string = ''

@description('Model of Azure OpenAI that serves `chat`.')
param chatModel string = 'gpt-4.1-mini'

param chatModelVersion string = '2025-04-14'

@description('Application of Entra ID whose tokens App Service authentication accepts; empty: it is off.')
param entraClientId string = ''

@description('Whether storage is encrypted with keys of the vault instead of keys of Microsoft.')
param ownKeys bool = false

@description('Who is told of alerts and of the budget; empty: nobody is.')
param alertEmail string = ''

@description('A month, in the currency of the subscription; 0 for no budget.')
@minValue(0)
param monthlyBudget int = 0

@description('First day of the month in which the budget begins; not to be given.')
param budgetStart string = utcNow('yyyy-MM-01')

var isPrivate = network == 'private'
var sizes = loadJsonContent('sizes.json')
var chosen = sizes[size]
var contract = loadJsonContent('contract.json')
var tags = { 'azd-env-name': environmentName }
var token = take(uniqueString(subscription().id, environmentName, location), 8)
var regions = concat([location], empty(otherRegions) ? [] : split(replace(otherRegions, ' ', ''), ','))
var hasOthers = length(regions) > 1
// The region that keeps copies of what is shared.
var paired = take(skip(regions, 1), 1)
// Private endpoints, zones and replicas of Service Bus come with Premium alone.
var serviceBusSku = isPrivate ? 'Premium' : chosen.serviceBus.sku
var replyQueueNames = empty(replyQueues) ? [] : split(replace(replyQueues, ' ', ''), ',')
var sharedGroupName = 'rg-${environmentName}'

resource shared 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: sharedGroupName
  location: location
  tags: tags
}

resource stampGroups 'Microsoft.Resources/resourceGroups@2024-11-01' = [for region in regions: {
  name: 'rg-${environmentName}-${region}'
  location: region
  tags: tags
}]

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: shared
  params: {
    name: 'sluice-${token}'
    location: location
    tags: tags
    retentionDays: chosen.logRetentionDays
    dailyGb: chosen.dailyLogGb
    alertEmail: alertEmail
  }
}

module serviceBus 'modules/service-bus.bicep' = {
  name: 'service-bus'
  scope: shared
  params: {
    name: 'sb-sluice-${token}'
    location: location
    tags: tags
    sku: serviceBusSku
    capacity: max(1, chosen.serviceBus.capacity)
    isPrivate: isPrivate
    replicas: serviceBusSku == 'Premium' ? paired : []
    queues: contract.queues
    replyQueue: contract.replyQueue
    replyQueueNames: replyQueueNames
    workspaceId: monitoring.outputs.workspaceId
  }
}

module settingsStore 'modules/app-configuration.bicep' = if (chosen.sharedSettings) {
  name: 'app-configuration'
  scope: shared
  params: {
    name: 'appcs-sluice-${token}'
    location: location
    tags: tags
    isPrivate: isPrivate
    replicas: paired
    workspaceId: monitoring.outputs.workspaceId
  }
}

module frontDoorProfile 'modules/front-door-profile.bicep' = if (frontDoor) {
  name: 'front-door-profile'
  scope: shared
  params: {
    name: 'afd-sluice-${token}'
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

module stamps 'modules/stamp.bicep' = [for (region, index) in regions: {
  name: 'stamp-${region}'
  scope: stampGroups[index]
  params: {
    location: region
    tags: tags
    token: take(uniqueString(subscription().id, environmentName, region), 8)
    addressSpace: cidrSubnet('10.64.0.0/12', 20, index)
    isStandby: index > 0
    isPrivate: isPrivate
    plan: plan
    durableBackend: durableBackend
    egress: egress
    size: chosen
    storageSku: hasOthers ? chosen.pairedStorageSku : chosen.storageSku
    contract: contract
    replyQueueNames: replyQueueNames
    serviceBusId: serviceBus.outputs.id
    serviceBusHost: serviceBus.outputs.host
    settingsStoreId: chosen.sharedSettings ? settingsStore.outputs.id : ''
    hasSettingsStore: chosen.sharedSettings
    workspaceId: monitoring.outputs.workspaceId
    insightsId: monitoring.outputs.insightsId
    insightsConnection: monitoring.outputs.insightsConnection
    isBehindFrontDoor: frontDoor
    frontDoorId: frontDoor ? frontDoorProfile.outputs.frontDoorId : ''
    blobDoor: blobDoor
    deployerAddresses: empty(deployerAddresses) ? [] : split(replace(deployerAddresses, ' ', ''), ',')
    chatModel: chatModel
    chatModelVersion: chatModelVersion
    entraClientId: entraClientId
    deployerId: deployerId
    ownKeys: ownKeys
    operatorId: operatorId
    operatorType: operatorType
  }
}]

module sharedRoles 'modules/roles.bicep' = [for (region, index) in regions: {
  name: 'roles-${region}'
  scope: shared
  params: {
    appPrincipalId: stamps[index].outputs.appPrincipalId
    // Once is enough.
    operatorId: index == 0 ? operatorId : ''
    operatorType: operatorType
    serviceBusName: 'sb-sluice-${token}'
    requestsQueue: contract.requestsQueue
    queues: map(contract.queues, queue => queue.name)
    replyQueueNames: replyQueueNames
    insightsName: 'appi-sluice-${token}'
    settingsStoreName: chosen.sharedSettings ? 'appcs-sluice-${token}' : ''
  }
  dependsOn: [settingsStore]
}]

module entrance 'modules/front-door.bicep' = if (frontDoor) {
  name: 'front-door'
  scope: shared
  params: {
    profileName: 'afd-sluice-${token}'
    token: token
    tags: tags
    isPrivate: isPrivate
    origins: [for (region, index) in regions: {
      name: region
      appId: stamps[index].outputs.appId
      host: stamps[index].outputs.appHost
      location: region
    }]
  }
  dependsOn: [frontDoorProfile]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: shared
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    serviceBusId: serviceBus.outputs.id
    frontDoorId: frontDoor ? frontDoorProfile.outputs.id : ''
    hasFrontDoor: frontDoor
    queues: contract.queues
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: shared
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = if (monthlyBudget > 0 && !empty(alertEmail)) {
  name: 'sluice-${environmentName}'
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: { startDate: budgetStart }
    filter: {
      tags: { name: 'azd-env-name', operator: 'In', values: [environmentName] }
    }
    notifications: {
      half: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 50
        contactEmails: [alertEmail]
      }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [alertEmail]
      }
    }
  }
}

output AZURE_RESOURCE_GROUP string = 'rg-${environmentName}-${location}'
output SLUICE_REGIONS array = regions
output SLUICE_APPS array = [for (region, index) in regions: stamps[index].outputs.appName]
output SLUICE_URL string = frontDoor ? entrance.outputs.url : 'https://${stamps[0].outputs.appHost}'
output SLUICE_SERVICE_BUS string = serviceBus.outputs.host
output SLUICE_MACHINE_LEARNING string = stamps[0].outputs.machineLearningName
output SLUICE_STORAGE_ACCOUNT string = stamps[0].outputs.dataAccountName
