package main

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// cluster is what the rules are made of.
type cluster struct {
	ranges     []netip.Prefix // of the addresses of pods
	pods       []*core.Pod
	namespaces []*core.Namespace
	policies   []*networking.NetworkPolicy
}

// direction says which address of a packet is the other side's, and which the selected pod's.
type direction struct{ name, own, other string }

var (
	ingress = direction{"ingress", "daddr", "saddr"}
	egress  = direction{"egress", "saddr", "daddr"}
)

// rule is what both kinds of rules of a NetworkPolicy have: no peers are all, and so are no ports.
type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

// rules is the whole table, as text for nft. It is the same text as long as nothing that matters has changed.
func (c *cluster) rules(table string) string {
	var chains strings.Builder
	sort.Slice(c.pods, func(i, j int) bool { return name(c.pods[i]) < name(c.pods[j]) })
	sort.Slice(c.policies, func(i, j int) bool {
		return c.policies[i].Namespace+"/"+c.policies[i].Name < c.policies[j].Namespace+"/"+c.policies[j].Name
	})
	for _, each := range []direction{egress, ingress} {
		jumps := map[string][]string{}
		for _, pod := range c.pods {
			allowed, isolated := c.allowed(pod, each)
			if !isolated {
				continue
			}
			chain := fmt.Sprintf("%s-%s", each.name, pod.UID)
			for _, address := range addresses(pod) {
				jumps[family(address)] = append(jumps[family(address)], address.String()+" : jump "+chain)
			}
			fmt.Fprintf(&chains, " chain %s {\n  comment \"%s\"\n", chain, name(pod))
			for _, match := range allowed {
				fmt.Fprintf(&chains, "  %sreturn\n", match)
			}
			chains.WriteString("  drop\n }\n")
		}
		fmt.Fprintf(&chains, " chain any-%s {\n", each.name)
		for _, family := range []string{"ip", "ip6"} {
			if len(jumps[family]) > 0 {
				fmt.Fprintf(&chains, "  %s %s vmap { %s }\n", family, each.own, strings.Join(jumps[family], ", "))
			}
		}
		if each == egress && len(c.policies) > 0 {
			chains.WriteString(c.strangers())
		}
		chains.WriteString(" }\n")
	}
	// Neighbour discovery is to IPv6 what ARP is to IPv4, which no rule sees.
	return fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
%[2]s chain answers {
  ct direction reply accept
  ct state related accept
  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept
 }
 chain forward {
  type filter hook forward priority filter
  jump answers
  jump any-egress
  jump any-ingress
 }
 chain input {
  type filter hook input priority filter
  jump answers
  jump any-egress
 }
}
`, table, chains.String())
}

// strangers drops new connections from addresses of pods that are no known pod's: of those that start. One that was deleted
// by force may still end the connections that it has, or a database would keep its locks until it asks for a sign of life.
func (c *cluster) strangers() string {
	known := map[string][]string{}
	for _, pod := range c.pods {
		for _, address := range addresses(pod) {
			known[family(address)] = append(known[family(address)], address.String())
		}
	}
	var rules strings.Builder
	for _, each := range c.ranges {
		but, family := "", family(each.Addr())
		if len(known[family]) > 0 {
			but = fmt.Sprintf("%s saddr != { %s } ", family, strings.Join(known[family], ", "))
		}
		fmt.Fprintf(&rules, "  %s saddr %s %sct state new drop\n", family, each, but)
	}
	return rules.String()
}

// allowed is what the policies let through to or from a pod, each as the beginning of a rule of nft; and whether any
// policy selects the pod for that direction at all.
func (c *cluster) allowed(pod *core.Pod, way direction) (matches []string, isolated bool) {
	for _, policy := range c.policies {
		if policy.Namespace != pod.Namespace || !selects(&policy.Spec.PodSelector, pod.Labels) || !speaksOf(policy, way) {
			continue
		}
		isolated = true
		for _, each := range rulesOf(policy, way) {
			matches = append(matches, c.matches(pod, policy.Namespace, each, way)...)
		}
	}
	return matches, isolated
}

func rulesOf(policy *networking.NetworkPolicy, way direction) (rules []rule) {
	if way == ingress {
		for _, each := range policy.Spec.Ingress {
			rules = append(rules, rule{each.From, each.Ports})
		}
		return rules
	}
	for _, each := range policy.Spec.Egress {
		rules = append(rules, rule{each.To, each.Ports})
	}
	return rules
}

func speaksOf(policy *networking.NetworkPolicy, way direction) bool {
	for _, each := range policy.Spec.PolicyTypes {
		if strings.EqualFold(string(each), way.name) {
			return true
		}
	}
	return false
}

// matches is one rule, seen from a pod. A port with a name is one of the pod that is connected to.
func (c *cluster) matches(pod *core.Pod, namespace string, each rule, way direction) (matches []string) {
	others := []string{""}
	if len(each.peers) > 0 {
		others = c.others(each.peers, namespace, way)
	}
	if len(each.ports) == 0 {
		return others
	}
	for _, port := range each.ports {
		if port.Port == nil || port.Port.Type == intstr.Int || way == ingress {
			for _, number := range numbers(port, pod) {
				for _, other := range others {
					matches = append(matches, other+number)
				}
			}
			continue
		}
		for _, other := range c.pods {
			if len(each.peers) > 0 && !c.isOneOf(other, each.peers, namespace) {
				continue
			}
			for _, number := range numbers(port, other) {
				for _, to := range matching(way, addresses(other)) {
					matches = append(matches, to+number)
				}
			}
		}
	}
	return matches
}

// others matches the addresses of peers.
func (c *cluster) others(peers []networking.NetworkPolicyPeer, namespace string, way direction) (matches []string) {
	var found []netip.Addr
	for _, pod := range c.pods {
		if c.isOneOf(pod, peers, namespace) {
			found = append(found, addresses(pod)...)
		}
	}
	matches = matching(way, found)
	for _, peer := range peers {
		if peer.IPBlock == nil {
			continue
		}
		block := netip.MustParsePrefix(peer.IPBlock.CIDR) // the API server has seen to that
		match := fmt.Sprintf("%s %s %s ", family(block.Addr()), way.other, block.Masked())
		for _, except := range peer.IPBlock.Except {
			match += fmt.Sprintf("%s %s != %s ", family(block.Addr()), way.other, netip.MustParsePrefix(except).Masked())
		}
		matches = append(matches, match)
	}
	return matches
}

// isOneOf tells whether selectors of peers select a pod.
func (c *cluster) isOneOf(pod *core.Pod, peers []networking.NetworkPolicyPeer, namespace string) bool {
	for _, peer := range peers {
		if peer.IPBlock != nil || (peer.PodSelector != nil && !selects(peer.PodSelector, pod.Labels)) {
			continue
		}
		if peer.NamespaceSelector == nil {
			if pod.Namespace == namespace {
				return true
			}
			continue
		}
		for _, each := range c.namespaces {
			if each.Name == pod.Namespace && selects(peer.NamespaceSelector, each.Labels) {
				return true
			}
		}
	}
	return false
}

func matching(way direction, found []netip.Addr) (matches []string) {
	sets := map[string][]string{}
	for _, address := range found {
		sets[family(address)] = append(sets[family(address)], address.String())
	}
	for _, family := range []string{"ip", "ip6"} {
		if len(sets[family]) > 0 {
			matches = append(matches, fmt.Sprintf("%s %s { %s } ", family, way.other, strings.Join(sets[family], ", ")))
		}
	}
	return matches
}

// numbers matches a port; those of the pod that have its name, where it has one.
func numbers(port networking.NetworkPolicyPort, pod *core.Pod) (matches []string) {
	protocol := core.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	proto := strings.ToLower(string(protocol))
	switch {
	case port.Port == nil:
		return []string{"meta l4proto " + proto + " "}
	case port.Port.Type == intstr.Int && port.EndPort != nil:
		return []string{fmt.Sprintf("%s dport %d-%d ", proto, port.Port.IntVal, *port.EndPort)}
	case port.Port.Type == intstr.Int:
		return []string{fmt.Sprintf("%s dport %d ", proto, port.Port.IntVal)}
	}
	for _, container := range pod.Spec.Containers {
		for _, each := range container.Ports {
			if each.Name == port.Port.StrVal && each.Protocol == protocol {
				matches = append(matches, fmt.Sprintf("%s dport %d ", proto, each.ContainerPort))
			}
		}
	}
	return matches
}

// addresses of a pod that are its own: those of one that has ended may be another's by now.
func addresses(pod *core.Pod) (found []netip.Addr) {
	if pod.Spec.HostNetwork || pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed {
		return nil
	}
	for _, each := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(each.IP); err == nil {
			found = append(found, address)
		}
	}
	return found
}

func family(address netip.Addr) string {
	if address.Is4() {
		return "ip"
	}
	return "ip6"
}

func name(pod *core.Pod) string { return pod.Namespace + "/" + pod.Name }

func selects(selector *meta.LabelSelector, of map[string]string) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}
