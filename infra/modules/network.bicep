// One region's network: where the app lives, where private endpoints live, and the way out.
param name string
param location string
param tags object

@description('A /20.')
param addressSpace string

@description('Flex Consumption and Elastic Premium ask for different delegations.')
param appDelegation string
param isZoneRedundant bool
param hasFirewall bool
param workspaceId string

var zones = isZoneRedundant ? ['1', '2', '3'] : []

resource outboundAddress 'Microsoft.Network/publicIPAddresses@2025-01-01' = {
  name: 'pip-${name}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  zones: zones
  properties: { publicIPAllocationMethod: 'Static' }
}

// In one zone, which Azure chooses: the kind that spans zones (StandardV2) cannot be attached to a
// subnet that is delegated to Functions. A firewall spans them.
resource natGateway 'Microsoft.Network/natGateways@2025-01-01' = if (!hasFirewall) {
  name: 'ng-${name}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    idleTimeoutInMinutes: 10
    publicIpAddresses: [{ id: outboundAddress.id }]
  }
}

// Empty here: the route to the firewall is added once the firewall has its address.
resource routes 'Microsoft.Network/routeTables@2025-01-01' = if (hasFirewall) {
  name: 'rt-${name}'
  location: location
  tags: tags
  properties: { disableBgpRoutePropagation: true }
}

resource appRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = {
  name: 'nsg-app-${name}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'nothing-from-the-internet'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = {
  name: 'nsg-endpoints-${name}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'network-only'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          // 5671: Service Bus speaks AMQP.
          destinationPortRanges: ['443', '5671']
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 200
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

var wayOut = hasFirewall
  ? { routeTable: { id: routes.id } }
  : { natGateway: { id: natGateway.id } }
var firewallSubnets = hasFirewall
  ? [{ name: 'AzureFirewallSubnet', properties: { addressPrefix: cidrSubnet(addressSpace, 26, 8) } }]
  : []

resource network 'Microsoft.Network/virtualNetworks@2025-01-01' = {
  name: 'vnet-${name}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressSpace] }
    subnets: concat(
      [
        {
          name: 'app'
          properties: union(wayOut, {
            addressPrefix: cidrSubnet(addressSpace, 24, 0)
            networkSecurityGroup: { id: appRules.id }
            delegations: [{ name: 'app', properties: { serviceName: appDelegation } }]
          })
        }
        {
          name: 'endpoints'
          properties: {
            addressPrefix: cidrSubnet(addressSpace, 24, 1)
            networkSecurityGroup: { id: endpointRules.id }
            privateEndpointNetworkPolicies: 'Enabled'
          }
        }
        {
          // For runners that deploy from inside.
          name: 'runners'
          properties: union(wayOut, {
            addressPrefix: cidrSubnet(addressSpace, 24, 3)
            networkSecurityGroup: { id: appRules.id }
          })
        }
      ],
      firewallSubnets
    )
  }
}

module firewall 'firewall.bicep' = if (hasFirewall) {
  name: 'firewall'
  params: {
    name: name
    location: location
    tags: tags
    zones: zones
    subnetId: '${network.id}/subnets/AzureFirewallSubnet'
    publicAddressId: outboundAddress.id
    sources: [addressSpace]
    routeTableName: 'rt-${name}'
    workspaceId: workspaceId
  }
  dependsOn: [routes]
}

output networkId string = network.id
output appSubnetId string = '${network.id}/subnets/app'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
