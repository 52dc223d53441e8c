package core_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"

	"github.com/gridmux/gridmux/core"
)

// whoami serves "whoami", which tells callers who they have proved to be.
func whoami(m *core.Manager) error {
	return m.Handle("whoami", func(ctx context.Context, _ []byte) ([]byte, error) {
		caller := core.CallerFromContext(ctx)
		return fmt.Appendf(nil, "you are %s, by your %s", caller.Name, caller.Method), nil
	})
}

// Every node has a key of its own, and no other can take its name. Private keys
// stay where they were made; public ones go to all nodes, in a file or with the
// list of peers.
func ExampleNodeKeys() {
	private := map[string]ed25519.PrivateKey{}
	public := map[string]ed25519.PublicKey{}
	for _, name := range []string{"a", "b"} {
		pub, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			log.Fatal(err)
		}
		private[name], public[name] = priv, pub
	}
	lookup := func(name string) (ed25519.PublicKey, bool) {
		key, ok := public[name]
		return key, ok
	}
	nodes, stop := startNodes([]string{"a", "b"}, func(cfg *core.Config) {
		cfg.Auth = core.NodeKeys(private[cfg.Local.Name], lookup)
	}, whoami)
	defer stop()

	answer, err := nodes[0].Connection("b").Request(context.Background(), "whoami", nil)
	fmt.Println(string(answer), err)
	// Output: you are a, by your node key <nil>
}

// A key of the whole cluster while it is replaced, node by node: all nodes know
// both keys, a proves itself by the new one already, b by the old one still.
func ExampleSharedKey() {
	oldKey, newKey := []byte("the key of last year, 32 bytes.."), []byte("the key of this year, 32 bytes..") // random ones, from a file
	nodes, stop := startNodes([]string{"a", "b"}, func(cfg *core.Config) {
		cfg.Auth = core.SharedKey(oldKey, newKey)
		if cfg.Local.Name == "a" {
			cfg.Auth = core.SharedKey(newKey, oldKey)
		}
	}, whoami)
	defer stop()

	answer, err := nodes[0].Connection("b").Request(context.Background(), "whoami", nil)
	fmt.Println(string(answer), err)
	// Output: you are a, by your shared key <nil>
}
