# The addresses of the node, of pods and of Services, by CLUSTER_FAMILY; `cluster` reads it. A node of both families prefers
# IPv4, as most do. The node's address is on a bridge that is ours alone; FIRST is the API server as pods see it.
HOST4=10.77.0.1 PODS4=10.88.0.0/16 SERVICES4=10.96.0.0/16 FIRST4=10.96.0.1 OUT4=0.0.0.0/0
HOST6=fd00:77::1 PODS6=fd00:88::/64 SERVICES6=fd00:96::/112 FIRST6=fd00:96::1 OUT6=::/0

FAMILY=${CLUSTER_FAMILY:-ipv4}
case $FAMILY in
  ipv4) FAMILIES=(4) ANY=0.0.0.0 ;;
  ipv6) FAMILIES=(6) ANY=:: ;;
  dual) FAMILIES=(4 6) ANY=:: ;; # takes IPv4 too
  *) fail "CLUSTER_FAMILY=$FAMILY: one of ipv4, ipv6 and dual" ;;
esac

each() { # NAME [SEPARATOR [BEFORE [AFTER]]] : the values of NAME4, NAME6 or both
  local list= family value
  for family in "${FAMILIES[@]}"; do
    value=$1$family
    list+=${list:+${2-,}}${3-}${!value}${4-}
  done
  echo "$list"
}

first() { each "$1" | cut -d, -f1; }

masquerade() { # whoever is outside does not know the pods' addresses
  nft -f - <<NFT
table inet $TABLE {
  chain out {
    type nat hook postrouting priority srcnat
    ip saddr $PODS4 ip daddr != { $PODS4, $SERVICES4 } masquerade
    ip6 saddr $PODS6 ip6 daddr != { $PODS6, $SERVICES6 } masquerade
  }
}
NFT
}

network() {
  ip link add kube-node type bridge || fail "no right to make a network bridge: a node needs the host's root, not a container's"
  local family file
  for family in "${FAMILIES[@]}"; do
    case $family in
      4)
        ip addr add "$HOST4/24" dev kube-node
        sysctl -qw net.ipv4.ip_forward=1
        ;;
      6)
        # Nobody else is on the bridge who could have it.
        ip addr add "$HOST6/64" dev kube-node nodad || fail "this kernel has no IPv6"
        # A host that forwards no longer listens to its router, unless it is told to.
        for file in /proc/sys/net/ipv6/conf/*/accept_ra; do [ "$(cat "$file")" != 1 ] || echo 2 >"$file"; done
        sysctl -qw net.ipv6.conf.all.forwarding=1
        ;;
    esac
  done
  ip link set kube-node up
  masquerade
}

spaces() { # the network namespaces of our pods; also of a node that was killed, whose routes would mislead the next
  local file; for file in /run/netns/cni-*; do
    ip -n "${file##*/}" -o addr 2>/dev/null | grep -qE "inet6? (${PODS4%.0.0/16}\.|${PODS6%:/64}:)" && echo "${file##*/}"
  done || true
}
