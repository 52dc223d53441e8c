package fallback_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestQUICAndWebsocket has three nodes with QUIC and websocket on real sockets,
// which have chosen their ports themselves. The third is not to be reached by QUIC,
// and reaches nobody by it. The first two are connected over QUIC, within the time
// that a slow machine may need, and the others over websocket.
func TestQUICAndWebsocket(t *testing.T) {
	names := []string{"n1", "n2", "n3"}
	managers := make([]*core.Manager, len(names))
	addrs := make([]string, len(names))
	for i, name := range names {
		tls := devtls.Config(name)
		m, err := core.NewManager(core.Config{
			Local: core.Node{Name: name}, Listen: "127.0.0.1:0",
			Transport: transport.Fallback(quic.New(quic.Options{TLS: tls}), websocket.New(websocket.Options{TLS: tls})),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(lab.RegisterEchoes(m), m.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		managers[i], addrs[i] = m, m.Addr()
	}
	for i, m := range managers {
		var peers []core.Node
		for k, name := range names {
			addr := addrs[k]
			if i == 2 || k == 2 {
				_, over, _ := strings.Cut(addr, ",")
				addr = "," + over
			}
			peers = append(peers, core.Node{Name: name, Addr: addr})
		}
		if err := m.SetPeers(peers); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	over := func(i, k int) string {
		for _, p := range managers[i].Stats().Peers {
			if p.Peer == names[k] {
				return p.Transport
			}
		}
		return ""
	}
	for i, m := range managers {
		if err := m.WaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
		for k := range names {
			if k != i {
				lab.MustCall(t, m.Connection(names[k]), "echo", []byte("x"))
			}
		}
	}
	// A machine that is busy may have given QUIC too little of its head start. Then
	// the nodes move up, half a minute later at most.
	for began := time.Now(); over(0, 1) != "quic" || over(1, 0) != "quic"; {
		if time.Since(began) > 2*lab.Patience {
			t.Fatalf("two nodes are connected over %q and %q, want QUIC", over(0, 1), over(1, 0))
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, pair := range [][2]int{{0, 2}, {2, 0}, {1, 2}, {2, 1}} {
		if got := over(pair[0], pair[1]); got != "websocket" {
			t.Errorf("%s is connected with %s over %q, want websocket", names[pair[0]], names[pair[1]], got)
		}
	}
}
