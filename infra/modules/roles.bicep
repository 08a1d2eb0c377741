// Who may do what: every role assignment of the deployment, each on the smallest thing that works.
// Once for each region's own services and once for those that regions share; what is not named is
// left out.
param appPrincipalId string = ''
param servingPrincipalId string = ''

@description('The people who operate this; empty: nobody.')
param operatorId string = ''
param operatorType string = 'User'

@description('What deploys from a pipeline, by its object id; empty: nothing does.')
param deployerId string = ''
param hostAccountName string = ''
param dataAccountName string = ''
param modelsAccountName string = ''
param vaultName string = ''
param openAiName string = ''
param machineLearningName string = ''
param registryName string = ''
param schedulerName string = ''

@description('What storage reads its key of the vault with, and that vault.')
param keyPrincipalId string = ''
param keyVaultName string = ''
param serviceBusName string = ''
param requestsQueue string = ''
param queues array = []
param replyQueueNames array = []
param insightsName string = ''
param settingsStoreName string = ''

var roles = {
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  blobReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  serviceBusReceiver: '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
  serviceBusSender: '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
  serviceBusOwner: '090c5cfd-751d-490a-894a-3ce6f1109419'
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  encryptionUser: 'e147488a-f6f5-4113-8e2d-b22465e65bf6'
  secretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
  secretsOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  settingsReader: '516239f1-63e1-4d78-a4de-a74fb236a071'
  settingsOwner: '5ae67dd6-50cb-40e7-96ff-dc2bfa4b606b'
  openAiUser: '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
  dataScientist: 'f6c7c914-8db3-469d-8ca1-694a8f32e121'
  pull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
  push: '8311e382-0749-4cb8-b61a-304f252e45ec'
  websiteContributor: 'de139f84-1756-47ae-9be6-808fbbe84772'
  durableTaskContributor: '0ad04412-c4d5-4796-b79c-f76d14c8d402'
}

var groupId = resourceGroup().id
var hasOperator = !empty(operatorId)

resource hostAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (!empty(hostAccountName)) {
  name: hostAccountName
}

resource dataAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (!empty(dataAccountName)) {
  name: dataAccountName
}

resource modelsAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = if (!empty(modelsAccountName)) {
  name: modelsAccountName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = if (!empty(vaultName)) {
  name: vaultName
}

resource openAi 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = if (!empty(openAiName)) {
  name: openAiName
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' existing = if (!empty(machineLearningName)) {
  name: machineLearningName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' existing = if (!empty(registryName)) {
  name: registryName
}

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' existing = if (!empty(schedulerName)) {
  name: schedulerName
}

resource serviceBus 'Microsoft.ServiceBus/namespaces@2026-01-01' existing = if (!empty(serviceBusName)) {
  name: serviceBusName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = if (!empty(insightsName)) {
  name: insightsName
}

resource settingsStore 'Microsoft.AppConfiguration/configurationStores@2024-06-01' existing = if (!empty(settingsStoreName)) {
  name: settingsStoreName
}

// The host's account: its package, leases and keys, and the task hub's queues and tables. The host
// asks for Owner, as it makes its containers itself.
var onHostAccount = empty(hostAccountName) ? [] : ['blobOwner', 'queueContributor', 'tableContributor']

resource appOnHostAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in onHostAccount: {
  name: guid(groupId, hostAccountName, appPrincipalId, role)
  scope: hostAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[role])
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// Requests, results, files and batches; the blob trigger keeps what it has to try again in queues.
var onDataAccount = empty(dataAccountName) ? [] : ['blobContributor', 'queueContributor']

resource appOnDataAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in onDataAccount: {
  name: guid(groupId, dataAccountName, appPrincipalId, role)
  scope: dataAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[role])
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// Storage accounts with a key of one's own.
resource keyVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = if (!empty(keyVaultName)) {
  name: keyVaultName
}

resource storageOnKey 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(keyVaultName)) {
  name: guid(groupId, keyVaultName, keyPrincipalId, 'encryptionUser')
  scope: keyVault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.encryptionUser)
    principalId: keyPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Keys of deployments elsewhere.
resource appOnVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(vaultName)) {
  name: guid(groupId, vaultName, appPrincipalId, 'secretsUser')
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsUser)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Calls of Azure OpenAI.
resource appOnOpenAi 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(openAiName)) {
  name: guid(groupId, openAiName, appPrincipalId, 'openAiUser')
  scope: openAi
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.openAiUser)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Calls of online endpoints, and jobs of batch endpoints. No built-in role allows as little: the
// least of them may also register and remove models.
resource modelCaller 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!empty(machineLearningName)) {
  name: guid(groupId, machineLearningName, 'model-caller')
  properties: {
    roleName: 'Sluice model caller (${machineLearningName})'
    description: 'Calls online endpoints and starts, reads and cancels jobs of batch endpoints.'
    type: 'CustomRole'
    assignableScopes: [groupId]
    permissions: [
      {
        actions: [
          'Microsoft.MachineLearningServices/workspaces/read'
          'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/read'
          'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action'
          'Microsoft.MachineLearningServices/workspaces/batchEndpoints/read'
          'Microsoft.MachineLearningServices/workspaces/batchEndpoints/jobs/read'
          'Microsoft.MachineLearningServices/workspaces/batchEndpoints/jobs/write'
          'Microsoft.MachineLearningServices/workspaces/jobs/read'
          'Microsoft.MachineLearningServices/workspaces/jobs/write'
          'Microsoft.MachineLearningServices/workspaces/jobs/cancel/action'
        ]
      }
    ]
  }
}

resource appOnModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(machineLearningName)) {
  name: guid(groupId, machineLearningName, appPrincipalId, 'model-caller')
  scope: workspace
  properties: {
    roleDefinitionId: modelCaller.id
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// The task hub, when it is the scheduler's.
resource appOnScheduler 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(schedulerName)) {
  name: guid(groupId, schedulerName, appPrincipalId, 'durableTaskContributor')
  scope: scheduler
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.durableTaskContributor)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Containers of models: their image and their weights.
resource servingOnRegistry 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(registryName)) {
  name: guid(groupId, registryName, servingPrincipalId, 'pull')
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.pull)
    principalId: servingPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource servingOnModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(modelsAccountName)) {
  name: guid(groupId, modelsAccountName, servingPrincipalId, 'blobReader')
  scope: modelsAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: servingPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Messages: the app takes from one queue and sends to the others. What operators do to rejected
// messages and dead letters, they do by its doors.
var lookedInto = filter(queues, each => each != requestsQueue)
var sent = concat(lookedInto, replyQueueNames)

resource takenQueue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' existing = if (!empty(serviceBusName)) {
  parent: serviceBus
  name: requestsQueue
}

resource sentQueue 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' existing = [for queue in sent: if (!empty(serviceBusName)) {
  parent: serviceBus
  name: queue
}]

resource appReceives 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(serviceBusName)) {
  name: guid(groupId, serviceBusName, appPrincipalId, 'serviceBusReceiver')
  scope: takenQueue
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.serviceBusReceiver)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appLooksInto 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (queue, index) in lookedInto: if (!empty(serviceBusName)) {
  name: guid(groupId, serviceBusName, appPrincipalId, 'serviceBusReceiver', queue)
  scope: sentQueue[index] // `sent` begins with them
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.serviceBusReceiver)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

resource appSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (queue, index) in sent: if (!empty(serviceBusName)) {
  name: guid(groupId, serviceBusName, appPrincipalId, 'serviceBusSender', queue)
  scope: sentQueue[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.serviceBusSender)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// Telemetry, without the key in the connection string.
resource appOnInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(insightsName)) {
  name: guid(groupId, insightsName, appPrincipalId, 'metricsPublisher')
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appOnSettings 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(settingsStoreName)) {
  name: guid(groupId, settingsStoreName, appPrincipalId, 'settingsReader')
  scope: settingsStore
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.settingsReader)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// A pipeline: puts packages there, and has the app take them.
var hasDeployer = !empty(deployerId) && !empty(hostAccountName)

resource deployerOnPackage 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasDeployer) {
  name: guid(groupId, hostAccountName, deployerId, 'blobContributor')
  scope: hostAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: deployerId
    principalType: 'ServicePrincipal'
  }
}

resource deployerOnApp 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasDeployer) {
  name: guid(groupId, deployerId, 'websiteContributor')
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.websiteContributor)
    principalId: deployerId
    principalType: 'ServicePrincipal'
  }
}

// People: put models and inputs there, read results and queues, keep keys and settings.
resource operatorOnData 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(dataAccountName)) {
  name: guid(groupId, dataAccountName, operatorId, 'blobContributor')
  scope: dataAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnPackage 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(hostAccountName)) {
  name: guid(groupId, hostAccountName, operatorId, 'blobContributor')
  scope: hostAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(machineLearningName)) {
  name: guid(groupId, machineLearningName, operatorId, 'dataScientist')
  scope: workspace
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.dataScientist)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnModelFiles 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(modelsAccountName)) {
  name: guid(groupId, modelsAccountName, operatorId, 'blobContributor')
  scope: modelsAccount
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnRegistry 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(registryName)) {
  name: guid(groupId, registryName, operatorId, 'push')
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.push)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(vaultName)) {
  name: guid(groupId, vaultName, operatorId, 'secretsOfficer')
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsOfficer)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(serviceBusName)) {
  name: guid(groupId, serviceBusName, operatorId, 'serviceBusOwner')
  scope: serviceBus
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.serviceBusOwner)
    principalId: operatorId
    principalType: operatorType
  }
}

resource operatorOnSettings 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(settingsStoreName)) {
  name: guid(groupId, settingsStoreName, operatorId, 'settingsOwner')
  scope: settingsStore
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.settingsOwner)
    principalId: operatorId
    principalType: operatorType
  }
}
