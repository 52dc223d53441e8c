package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// object is one object of the manifest.
type object struct {
	t    *testing.T
	kind string
	v    any
}

// get follows a path of keys, and of numbers in lists. What it leads to has to be
// there.
func (o object) get(path string) any {
	o.t.Helper()
	v := o.v
	for key := range strings.SplitSeq(path, " ") {
		var next any
		switch at := v.(type) {
		case map[string]any:
			next = at[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err == nil && i < len(at) {
				next = at[i]
			}
		}
		if next == nil {
			o.t.Fatalf("%s has no %q", o.kind, path)
		}
		v = next
	}
	return v
}

func (o object) want(path string, want any) {
	o.t.Helper()
	if got := o.get(path); fmt.Sprint(got) != fmt.Sprint(want) {
		o.t.Errorf("%s: %s is %v, want %v", o.kind, path, got, want)
	}
}

// named returns the item of a list that has a name, with a key of its own.
func (o object) named(list, name, key string) any {
	o.t.Helper()
	all, _ := o.get(list).([]any)
	for _, item := range all {
		if m, _ := item.(map[string]any); m["name"] == name {
			return m[key]
		}
	}
	o.t.Fatalf("%s: %s has no %q", o.kind, list, name)
	return nil
}

func manifest(t *testing.T) map[string]object {
	t.Helper()
	text, err := os.ReadFile("kv.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := parseYAML(string(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]object{}
	for _, doc := range docs {
		o := object{t, "an object", doc}
		o.kind = fmt.Sprint(o.get("kind"))
		all[o.kind] = o
	}
	for _, kind := range []string{"Service", "ConfigMap", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"} {
		if all[kind].t == nil {
			t.Fatalf("there is no %s", kind)
		}
	}
	return all
}

// TestManifest holds the manifest to the program: ports, names, paths and times
// fit together, and nothing waits for what waits for it.
func TestManifest(t *testing.T) {
	t.Parallel()
	all := manifest(t)
	set, service := all["StatefulSet"], all["Service"]
	const pod = "spec template spec "
	const container = pod + "containers 0 "

	data := t.TempDir()
	count := fmt.Sprint(all["ConfigMap"].get("data nodes"))
	write(t, data, "members/nodes", count)
	nodes, err := members(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all["ConfigMap"].get("data nodes").(string); !ok {
		t.Error("the number in the ConfigMap has no quotes, and would be refused")
	}
	set.want("spec replicas", count)
	for i, n := range nodes {
		name := fmt.Sprintf("%v-%d", set.get("metadata name"), i)
		addr := fmt.Sprintf("%s.%v:%v", name, service.get("metadata name"), service.get("spec ports 0 port"))
		if n.Name != name || n.Addr != addr {
			t.Errorf("the program takes node %d for %v, it is %s at %s", i, n, name, addr)
		}
	}

	service.want("spec clusterIP", "None")
	service.want("spec publishNotReadyAddresses", true)
	service.want("spec ports 0 port", peerPort)
	set.want("spec serviceName", service.get("metadata name"))
	set.want("spec podManagementPolicy", "Parallel")
	for path, o := range map[string]object{
		"spec selector": service, "spec selector matchLabels": set, "spec template metadata labels": set,
		"spec podSelector matchLabels": all["NetworkPolicy"], "spec ingress 0 from 0 podSelector matchLabels": all["NetworkPolicy"],
	} {
		o.want(path, map[string]any{"app": "kv"})
	}
	all["PodDisruptionBudget"].want("spec selector matchLabels", map[string]any{"app": "kv"})
	all["NetworkPolicy"].want("spec ingress 0 ports 0 port", peerPort)
	all["NetworkPolicy"].want("spec ingress 1 ports 0 port", probePort)

	for name, port := range map[string]int{"peers": peerPort, "probes": probePort} {
		if got := set.named(container+"ports", name, "containerPort"); got != port {
			t.Errorf("port %s is %v, want %d", name, got, port)
		}
	}
	for _, probe := range []string{"readinessProbe", "livenessProbe"} {
		set.want(container+probe+" httpGet port", "probes")
		set.want(container+probe+" httpGet path", "/healthz")
	}
	set.want(container+"env 0 name", "POD_NAME")
	for _, volume := range []string{"members", "keys", "tls"} {
		if at := set.named(container+"volumeMounts", volume, "mountPath"); at != dir+"/"+volume {
			t.Errorf("%s is mounted at %v", volume, at)
		}
		set.named(pod+"volumes", volume, "name")
	}
	set.want(pod+"volumes 0 configMap name", all["ConfigMap"].get("metadata name"))

	grace, _ := set.get(pod + "terminationGracePeriodSeconds").(int)
	if left := time.Duration(grace)*time.Second - drainLimit; left < 5*time.Second {
		t.Errorf("the drain leaves %v of the time until the process is killed", left)
	}
}
