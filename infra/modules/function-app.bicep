// The Functions app: its plan, its settings, and who may reach it.
param name string
param location string
param tags object

@allowed(['flexConsumption', 'elasticPremium'])
param plan string
param size object
param isZoneRedundant bool
param isPrivate bool
param isStandby bool
param appSubnetId string
param endpointsSubnetId string
param identityId string
param identityClientId string

@description('Container that the package of the app is put into.')
param packageUrl string
param hostAccountName string
param dataAccountName string
param serviceBusHost string
param contract object
param replyQueueNames array

@description('Each with the name of an endpoint and the URL of its scoring script.')
param endpointUrls array
param chatUrl string
param chatDeployment string
param usesScheduler bool
param schedulerEndpoint string
param insightsConnection string
param isBehindFrontDoor bool
param frontDoorId string
param blobDoor bool
param deployerAddresses array
param entraClientId string
param workspaceId string

var isFlex = plan == 'flexConsumption'
var storageHost = environment().suffixes.storage
var functions = contract.functions
var connection = contract.serviceBusConnection
var results = split(contract.resultsQueue, ',')

// AzureWebJobsStorage and SLUICE_STORAGE in the form that asks for a token instead of a key.
var storageSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: 'https://${hostAccountName}.blob.${storageHost}'
  AzureWebJobsStorage__queueServiceUri: 'https://${hostAccountName}.queue.${storageHost}'
  AzureWebJobsStorage__tableServiceUri: 'https://${hostAccountName}.table.${storageHost}'
  SLUICE_STORAGE__credential: 'managedidentity'
  SLUICE_STORAGE__clientId: identityClientId
  SLUICE_STORAGE__blobServiceUri: 'https://${dataAccountName}.blob.${storageHost}'
  SLUICE_STORAGE__queueServiceUri: 'https://${dataAccountName}.queue.${storageHost}'
}
var containerSettings = toObject(contract.containers, each => each.setting, each => each.name)
var serviceBusSettings = {
  '${connection}__fullyQualifiedNamespace': serviceBusHost
  '${connection}__credential': 'managedidentity'
  '${connection}__clientId': identityClientId
  SLUICE_REPLY_QUEUES: join(concat(results, replyQueueNames), ',')
}
var modelSettings = union(
  toObject(endpointUrls, each => '${toUpper(each.name)}_ENDPOINT_URL', each => each.url),
  {
    SLUICE_DEPLOYMENTS: '/home/site/wwwroot/deployments.azure.yaml'
    CHAT_ENDPOINT_URL: chatUrl
    CHAT_ENDPOINT_MODEL: chatDeployment
  }
)
var appSettings = {
  AZURE_CLIENT_ID: identityClientId
  SLUICE_REGION: location
  SLUICE_BATCH_INPUTS_SOURCE: 'EventGrid'
  // A file of 250 MB, and the form around it.
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '268435456'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identityClientId}'
  'AzureWebJobs.${functions.requests}.Disabled': isStandby ? 'true' : 'false'
  'AzureWebJobs.${functions.blobs}.Disabled': blobDoor ? 'false' : 'true'
}
// Put over host.json, which names Azure Storage's task hub.
var schedulerSettings = usesScheduler
  ? {
      DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identityClientId}'
      AzureFunctionsJobHost__extensions__durableTask__hubName: contract.taskHub
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DURABLE_TASK_SCHEDULER_CONNECTION_STRING'
    }
  : {}
// Flex Consumption has these in functionAppConfig and refuses them as settings. A package read from
// a container keeps Elastic Premium off Azure Files, which would need an account key.
var premiumSettings = isFlex
  ? {}
  : {
      FUNCTIONS_EXTENSION_VERSION: '~4'
      FUNCTIONS_WORKER_RUNTIME: 'python'
      WEBSITE_RUN_FROM_PACKAGE: '${packageUrl}/app.zip'
      WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
    }

var frontDoorRules = isBehindFrontDoor && !isPrivate
  ? [
      {
        name: 'front-door'
        priority: 100
        action: 'Allow'
        tag: 'ServiceTag'
        ipAddress: 'AzureFrontDoor.Backend'
        // The tag is every customer's Front Door; the header is this one's.
        headers: { 'x-azure-fdid': [frontDoorId] }
      }
    ]
  : []
var eventGridRules = blobDoor
  ? [{ name: 'event-grid', priority: 200, action: 'Allow', tag: 'ServiceTag', ipAddress: 'AzureEventGrid' }]
  : []
var deployerRules = map(range(0, length(deployerAddresses)), index => {
  name: 'deployer-${index}'
  priority: 300 + index
  action: 'Allow'
  ipAddress: deployerAddresses[index]
})
var isClosed = isPrivate || isBehindFrontDoor
var needsPublic = !isPrivate || blobDoor || !empty(deployerAddresses)

resource serverFarm 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: isFlex ? 'functionapp' : 'elastic'
  sku: isFlex
    ? { name: 'FC1', tier: 'FlexConsumption' }
    : { name: size.premiumSku, tier: 'ElasticPremium', capacity: size.premiumInstances }
  properties: union(
    { reserved: true, zoneRedundant: isZoneRedundant },
    isFlex ? {} : { elasticScaleEnabled: true, maximumElasticWorkerCount: size.premiumMost }
  )
}

var siteProperties = {
  serverFarmId: serverFarm.id
  httpsOnly: true
  publicNetworkAccess: needsPublic ? 'Enabled' : 'Disabled'
  keyVaultReferenceIdentity: identityId
  siteConfig: union(
    {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: isClosed ? 'Deny' : 'Allow'
      ipSecurityRestrictions: concat(frontDoorRules, eventGridRules)
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: isPrivate ? 'Deny' : 'Allow'
      scmIpSecurityRestrictions: deployerRules
    },
    isFlex
      ? {}
      : {
          linuxFxVersion: 'Python|3.13'
          ftpsState: 'Disabled'
          minimumElasticInstanceCount: size.premiumInstances
          // Scales by queues that only the network can see.
          functionsRuntimeScaleMonitoringEnabled: true
          healthCheckPath: '/healthz'
        }
  )
}
var flexProperties = {
  functionAppConfig: {
    deployment: {
      storage: {
        type: 'blobContainer'
        value: packageUrl
        authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
      }
    }
    runtime: { name: 'python', version: '3.13' }
    scaleAndConcurrency: {
      instanceMemoryMB: size.instanceMemoryMB
      maximumInstanceCount: size.maximumInstanceCount
      // What is always ready is not scaled away under a long run.
      alwaysReady: size.alwaysReady
      triggers: { http: { perInstanceConcurrency: size.httpConcurrency } }
    }
  }
}
var networkProperties = { virtualNetworkSubnetId: appSubnetId }
// Flex Consumption is Linux, without FTP, and has all of its traffic go through the network anyway.
var premiumProperties = { reserved: true }
var premiumNetworkProperties = { outboundVnetRouting: { allTraffic: true } }

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, isStandby ? {} : { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: union(
    siteProperties,
    isFlex ? flexProperties : premiumProperties,
    isPrivate ? networkProperties : {},
    isPrivate && !isFlex ? premiumNetworkProperties : {}
  )
}

resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    storageSettings,
    containerSettings,
    serviceBusSettings,
    modelSettings,
    appSettings,
    schedulerSettings,
    premiumSettings
  )
}

resource noPasswordForCode 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

resource noPasswordForFiles 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

// Names the caller to the app, which decides: a call with an API key of the app's own has no token.
resource authentication 'Microsoft.Web/sites/config@2024-11-01' = if (!empty(entraClientId)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: { requireAuthentication: false, unauthenticatedClientAction: 'AllowAnonymous' }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: { allowedAudiences: [entraClientId, 'api://${entraClientId}'] }
      }
    }
    login: { tokenStore: { enabled: false } }
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'endpoint-${name}'
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    subnetId: endpointsSubnetId
    targetId: app.id
    groupId: 'sites'
    zoneNames: ['privatelink.azurewebsites.net']
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: app
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'FunctionAppLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = app.id
output host string = '${name}.azurewebsites.net'
