// Lets out what the app and its platform need, by name. A model elsewhere is one more name here.
param name string
param location string
param tags object
param zones array
param subnetId string
param publicAddressId string
param sources array
param routeTableName string
param workspaceId string

var hosts = loadJsonContent('../egress.json')

resource policy 'Microsoft.Network/firewallPolicies@2025-01-01' = {
  name: 'afwp-${name}'
  location: location
  tags: tags
  properties: {
    sku: { tier: 'Standard' }
    threatIntelMode: 'Deny'
    dnsSettings: { enableProxy: true }
  }
}

resource rules 'Microsoft.Network/firewallPolicies/ruleCollectionGroups@2025-01-01' = {
  parent: policy
  name: 'egress'
  properties: {
    priority: 200
    ruleCollections: [
      {
        name: 'known-hosts'
        priority: 100
        ruleCollectionType: 'FirewallPolicyFilterRuleCollection'
        action: { type: 'Allow' }
        rules: map(hosts, each => {
          name: each.name
          ruleType: 'ApplicationRule'
          sourceAddresses: sources
          targetFqdns: each.hosts
          protocols: [{ protocolType: 'Https', port: 443 }]
        })
      }
    ]
  }
}

resource firewall 'Microsoft.Network/azureFirewalls@2025-01-01' = {
  name: 'afw-${name}'
  location: location
  tags: tags
  zones: zones
  properties: {
    sku: { name: 'AZFW_VNet', tier: 'Standard' }
    firewallPolicy: { id: policy.id }
    ipConfigurations: [
      {
        name: 'out'
        properties: {
          subnet: { id: subnetId }
          publicIPAddress: { id: publicAddressId }
        }
      }
    ]
  }
  dependsOn: [rules]
}

resource routes 'Microsoft.Network/routeTables@2025-01-01' existing = {
  name: routeTableName
}

resource everything 'Microsoft.Network/routeTables/routes@2025-01-01' = {
  parent: routes
  name: 'everything-through-the-firewall'
  properties: {
    addressPrefix: '0.0.0.0/0'
    nextHopType: 'VirtualAppliance'
    nextHopIpAddress: firewall.properties.ipConfigurations[0].properties.privateIPAddress
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: firewall
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
