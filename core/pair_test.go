package core

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/transport/inmem"
)

// newTestPair returns two connected Managers, a and b, in the bubble of the test.
// b has what serve registers.
func newTestPair(t *testing.T, adjust func(cfg *Config), serve func(b *Manager) error) (a, b *Manager) {
	t.Helper()
	network := inmem.NewNetwork()
	start := func(name string) *Manager {
		cfg := Config{Local: Node{Addr: name}, Peers: []Node{{Addr: "a"}, {Addr: "b"}}, Transport: network.Node(name)}
		if adjust != nil {
			adjust(&cfg)
		}
		m, err := NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if name == "b" {
			if err := serve(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	b, a = start("b"), start("a")
	if err := a.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return a, b
}

// hold is a handler that keeps its request until release is closed.
func hold(release <-chan struct{}) HandlerFunc {
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	}
}
