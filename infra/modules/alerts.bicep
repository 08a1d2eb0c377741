// What wakes an operator. `when` of each is the heading of docs/operations.md that says what to do.
param location string
param tags object
param workspaceId string
param actionGroupId string
param serviceBusId string

@description('Empty: there is no Front Door to watch.')
param frontDoorId string
param hasFrontDoor bool
param queues array

var alerts = loadJsonContent('../alerts.json')
// An alert on a queue that is not there would stay silent for ever.
var known = map(queues, each => each.name)
var ofQueues = filter(alerts.metrics, each => each.on == 'serviceBus' && (empty(each.queue) || contains(known, each.queue)))
var ofFrontDoor = filter(alerts.metrics, each => hasFrontDoor && each.on == 'frontDoor')
var namespaces = {
  serviceBus: 'Microsoft.ServiceBus/namespaces'
  frontDoor: 'Microsoft.Cdn/profiles'
}

resource metric 'Microsoft.Insights/metricAlerts@2018-03-01' = [for each in concat(ofQueues, ofFrontDoor): {
  name: 'sluice-${each.name}'
  location: 'global'
  tags: tags
  properties: {
    description: '${each.when}. ${each.says}'
    severity: each.severity
    enabled: true
    scopes: each.on == 'serviceBus' ? [serviceBusId] : [frontDoorId]
    evaluationFrequency: 'PT5M'
    windowSize: each.window
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: each.name
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: namespaces[each.on]
          metricName: each.metric
          timeAggregation: each.aggregation
          operator: each.operator
          threshold: each.threshold
          dimensions: empty(each.queue) ? [] : [{ name: 'EntityName', operator: 'Include', values: [each.queue] }]
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}]

resource log 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for each in alerts.logs: {
  name: 'sluice-${each.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'sluice-${each.name}'
    description: '${each.when}. ${each.says}'
    severity: each.severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: each.every
    windowSize: each.window
    autoMitigate: true
    // Tables of telemetry are made by its first line, which may be yet to come.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: each.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: each.threshold
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: [actionGroupId] }
  }
}]
