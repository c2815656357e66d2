// Command policies enforces the NetworkPolicies of a cluster of one node, whose pods the CNI plugin ptp connects.
//
// It keeps one nftables table, made anew whenever pods, namespaces or policies change, and loaded in one transaction.
// Traffic among pods and to other machines is seen as it is forwarded, traffic to the node itself as it comes in, in
// both cases with the address behind a Service. What the node sends to its pods is never refused, as kubelet's probes
// must not be. A pod is known once its status has its address; as long as there is any policy, what comes from a pod that
// is not known yet is dropped, and sent again by whoever wants an answer. Every packet is looked at, not only the first of
// a connection, so that a policy ends what it does not allow.
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "an account that may list pods, namespaces and NetworkPolicies")
	ranges := flag.String("pods", "", "where the addresses of pods are: ranges, separated by commas")
	table := flag.String("table", "jobqueue-policies", "the name of the table of nftables")
	flag.Parse()
	var known []netip.Prefix
	for _, each := range strings.Split(*ranges, ",") {
		known = append(known, netip.MustParsePrefix(each))
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatalf("kubeconfig %q: %v", *kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatalf("kubeconfig %q: %v", *kubeconfig, err)
	}
	enforce(context.Background(), informers.NewSharedInformerFactory(client, 0), known, *table)
}

// enforce loads the table whenever it changes, and never returns.
func enforce(ctx context.Context, factory informers.SharedInformerFactory, ranges []netip.Prefix, table string) {
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, each := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := each.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { tell() },
			UpdateFunc: func(any, any) { tell() },
			DeleteFunc: func(any) { tell() },
		}); err != nil {
			log.Fatal(err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	loaded := ""
	for tell(); ; {
		<-changed
		seen := cluster{ranges: ranges}
		var errs [3]error
		seen.pods, errs[0] = pods.Lister().List(labels.Everything())
		seen.namespaces, errs[1] = namespaces.Lister().List(labels.Everything())
		seen.policies, errs[2] = policies.Lister().List(labels.Everything())
		for _, err := range errs {
			if err != nil {
				log.Fatalf("what was listed cannot be read: %v", err)
			}
		}
		text := seen.rules(table)
		if text == loaded {
			continue
		}
		if err := load(text); err != nil {
			log.Printf("the table %s is as it was; tried again in a second: %v\n%s", table, err, text)
			time.AfterFunc(time.Second, tell)
			continue
		}
		loaded = text
		log.Printf("%d policies, %d pods", len(seen.policies), len(seen.pods))
	}
}

// load hands rules to nft, which takes all of them or none.
func load(text string) error {
	command := exec.Command("nft", "-f", "-")
	command.Stdin = bytes.NewBufferString(text)
	said, err := command.CombinedOutput()
	if err != nil {
		return &refused{err, said}
	}
	return nil
}

type refused struct {
	err  error
	said []byte
}

func (r *refused) Error() string { return "nft: " + r.err.Error() + ": " + string(r.said) }
