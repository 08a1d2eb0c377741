// The Event Grid subscription of the blob trigger, for one region. A step of its own, after the code
// is there: Event Grid asks the app at once whether it wants these events.
// az deployment group create -g rg-ENV-REGION -f infra/event-grid.bicep -p appName=... accountName=...
param location string = resourceGroup().location

@description('The Functions app.')
param appName string

@description('The storage account of SLUICE_STORAGE.')
param accountName string

var contract = loadJsonContent('contract.json')
var inputs = filter(contract.containers, each => each.setting == 'SLUICE_BATCH_INPUTS')[0].name

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: accountName
}

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgt-${accountName}'
  location: location
  properties: { source: account.id, topicType: 'Microsoft.Storage.StorageAccounts' }
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'batch-inputs'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      subjectBeginsWith: '/blobServices/default/containers/${inputs}/'
      subjectEndsWith: '.jsonl'
    }
    retryPolicy: { maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440 }
    destination: {
      endpointType: 'WebHook'
      properties: {
        // The one key in this folder: the host's door for Event Grid knows no other way.
        endpointUrl: 'https://${app.properties.defaultHostName}/runtime/webhooks/blobs?functionName=Host.Functions.${contract.functions.blobs}&code=${listKeys('${app.id}/host/default', '2024-11-01').systemKeys.blobs_extension}'
        maxEventsPerBatch: 1
      }
    }
  }
}
