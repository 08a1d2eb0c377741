// How many machines serve one deployment of a model: up by use and by what waits, down by rest.
param location string
param workspaceName string
param endpointName string
param deploymentName string
param least int
param most int
param hasGpu bool
param serviceBusId string
param requestsQueue string

var useMetric = hasGpu ? 'GpuUtilizationPercentage' : 'CpuUtilizationPercentage'

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' existing = {
  name: workspaceName
}

resource endpoint 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints@2025-12-01' existing = {
  parent: workspace
  name: endpointName
}

resource deployment 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments@2025-12-01' existing = {
  parent: endpoint
  name: deploymentName
}

var byUse = [
  {
    metricTrigger: {
      metricName: useMetric
      metricResourceUri: deployment.id
      timeGrain: 'PT1M'
      statistic: 'Average'
      timeWindow: 'PT5M'
      timeAggregation: 'Average'
      operator: 'GreaterThan'
      threshold: 70
    }
    scaleAction: { direction: 'Increase', type: 'ChangeCount', value: '2', cooldown: 'PT5M' }
  }
  {
    metricTrigger: {
      metricName: useMetric
      metricResourceUri: deployment.id
      timeGrain: 'PT1M'
      statistic: 'Average'
      timeWindow: 'PT15M'
      timeAggregation: 'Average'
      operator: 'LessThan'
      threshold: 25
    }
    scaleAction: { direction: 'Decrease', type: 'ChangeCount', value: '1', cooldown: 'PT15M' }
  }
]
// Messages that wait: the app takes them at once and lets jobs wait for capacity, so a queue that
// grows says that far more is coming than is served.
var byQueue = empty(serviceBusId)
  ? []
  : [
      {
        metricTrigger: {
          metricName: 'ActiveMessages'
          metricResourceUri: serviceBusId
          timeGrain: 'PT1M'
          statistic: 'Average'
          timeWindow: 'PT5M'
          timeAggregation: 'Average'
          operator: 'GreaterThan'
          threshold: 500
          dimensions: [{ DimensionName: 'EntityName', Operator: 'Equals', Values: [requestsQueue] }]
        }
        scaleAction: { direction: 'Increase', type: 'ChangeCount', value: '2', cooldown: 'PT10M' }
      }
    ]

resource scaling 'Microsoft.Insights/autoscaleSettings@2022-10-01' = {
  name: 'as-${endpointName}-${deploymentName}'
  location: location
  properties: {
    enabled: true
    targetResourceUri: deployment.id
    profiles: [
      {
        name: 'by use'
        capacity: { minimum: string(least), maximum: string(most), default: string(least) }
        rules: concat(byUse, byQueue)
      }
    ]
  }
}
