// The way in from the internet: one name for all regions, and a firewall that reads requests.
param profileName string
param token string
param tags object
param isPrivate bool

@description('In the order in which they are asked, each with name, appId, host and location.')
param origins array

@description('Requests of one address in a minute.')
param mostRequestsPerMinute int = 6000

resource profile 'Microsoft.Cdn/profiles@2025-06-01' existing = {
  name: profileName
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2025-06-01' = {
  parent: profile
  name: 'sluice-${token}'
  location: 'global'
  tags: tags
  properties: { enabledState: 'Enabled' }
}

resource apps 'Microsoft.Cdn/profiles/originGroups@2025-06-01' = {
  parent: profile
  name: 'apps'
  properties: {
    loadBalancingSettings: { sampleSize: 4, successfulSamplesRequired: 3, additionalLatencyInMilliseconds: 0 }
    healthProbeSettings: {
      probePath: '/healthz'
      probeRequestType: 'GET'
      probeProtocol: 'Https'
      probeIntervalInSeconds: 30
    }
    sessionAffinityState: 'Disabled'
  }
}

var privately = map(range(0, length(origins)), index => {
  sharedPrivateLinkResource: {
    privateLink: { id: origins[index].appId }
    privateLinkLocation: origins[index].location
    groupId: 'sites'
    requestMessage: 'Front Door of Sluice'
  }
})

// A job is known in the region that took it: all calls go to the first region while it is well.
resource origin 'Microsoft.Cdn/profiles/originGroups/origins@2025-06-01' = [for (each, index) in origins: {
  parent: apps
  name: each.name
  properties: union(
    {
      hostName: each.host
      originHostHeader: each.host
      httpsPort: 443
      priority: index + 1
      weight: 1000
      enabledState: 'Enabled'
      enforceCertificateNameCheck: true
    },
    isPrivate ? privately[index] : {}
  )
}]

resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2025-06-01' = {
  parent: endpoint
  name: 'everything'
  properties: {
    originGroup: { id: apps.id }
    patternsToMatch: ['/*']
    supportedProtocols: ['Https']
    forwardingProtocol: 'HttpsOnly'
    httpsRedirect: 'Disabled'
    linkToDefaultDomain: 'Enabled'
    enabledState: 'Enabled'
  }
  dependsOn: [origin]
}

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2025-03-01' = {
  name: 'wafsluice${token}'
  location: 'global'
  tags: tags
  sku: { name: 'Premium_AzureFrontDoor' }
  properties: {
    policySettings: { enabledState: 'Enabled', mode: 'Prevention', requestBodyCheck: 'Enabled' }
    customRules: {
      rules: [
        {
          name: 'nothingOfTheHost'
          priority: 10
          ruleType: 'MatchRule'
          action: 'Block'
          enabledState: 'Enabled'
          // Durable Functions' and the host's own doors are for operators inside.
          matchConditions: [
            {
              matchVariable: 'RequestUri'
              operator: 'RegEx'
              matchValue: ['/(runtime|admin)/']
              transforms: ['UrlDecode', 'Lowercase']
            }
          ]
        }
        {
          name: 'mostOfOneAddress'
          priority: 20
          ruleType: 'RateLimitRule'
          rateLimitDurationInMinutes: 1
          rateLimitThreshold: mostRequestsPerMinute
          action: 'Block'
          enabledState: 'Enabled'
          matchConditions: [{ matchVariable: 'RequestUri', operator: 'Any', matchValue: [] }]
        }
      ]
    }
    managedRules: {
      managedRuleSets: [
        {
          ruleSetType: 'Microsoft_DefaultRuleSet'
          ruleSetVersion: '2.1'
          ruleSetAction: 'Block'
          // A prompt may well be about SQL or shell: what is in a body is text for a model, and no
          // attack on this app. Headers, paths and queries are still looked at.
          exclusions: [
            { matchVariable: 'RequestBodyJsonArgNames', selectorMatchOperator: 'EqualsAny', selector: '*' }
            { matchVariable: 'RequestBodyPostArgNames', selectorMatchOperator: 'EqualsAny', selector: '*' }
          ]
        }
        { ruleSetType: 'Microsoft_BotManagerRuleSet', ruleSetVersion: '1.1' }
      ]
    }
  }
}

resource security 'Microsoft.Cdn/profiles/securityPolicies@2025-06-01' = {
  parent: profile
  name: 'firewall'
  properties: {
    parameters: {
      type: 'WebApplicationFirewall'
      wafPolicy: { id: firewall.id }
      associations: [{ domains: [{ id: endpoint.id }], patternsToMatch: ['/*'] }]
    }
  }
}

output url string = 'https://${endpoint.properties.hostName}'
