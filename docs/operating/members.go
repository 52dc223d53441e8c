package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
)

// members returns the nodes of the cluster. A pod of a StatefulSet keeps its name
// for ever, and its headless Service gives that name an address, so all there is
// to know is how many there are.
func members(dir string) ([]core.Node, error) {
	text, err := fs.ReadFile(os.DirFS(dir), "members/nodes")
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return nil, fmt.Errorf("members/nodes: %q is no number of nodes", text)
	}
	nodes := make([]core.Node, n)
	for i := range nodes {
		name := fmt.Sprintf("kv-%d", i)                                                 // StatefulSet kv
		nodes[i] = core.Node{Name: name, Addr: fmt.Sprintf("%s.kv:%d", name, peerPort)} // Service kv
	}
	return nodes, nil
}

// follow has the node take on the members that the file names by now: the kubelet
// writes it anew when the ConfigMap changes.
func follow(ctx context.Context, m *core.Manager, dir string, log *slog.Logger) {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		nodes, err := members(dir)
		if err == nil {
			err = m.SetPeers(nodes) // the same again changes nothing
		}
		if err != nil {
			log.Error("the membership stays as it was", "error", err)
		}
	}
}
