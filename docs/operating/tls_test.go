package main

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/websocket"
)

// mutualTLS is nodeTLS for nodes of which each has a certificate for its own name.
func mutualTLS(dir string) (*tls.Config, error) {
	config, err := nodeTLS(dir)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = config.RootCAs
	return config, nil
}

// TestMutualTLS holds that nodes with certificates need no Config.Auth, and that
// a certificate for another name does not get a node in.
func TestMutualTLS(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, test := range []struct{ name, want string }{
		{"kv-1", ""},
		{"kv-2", "not kv-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network memnet.Network
				ca := newAuthority()
				nodes := []core.Node{{Name: "kv-0", Addr: "kv-0.kv:7000"}, {Name: "kv-1", Addr: "kv-1.kv:7000"}}
				var managers []*core.Manager
				for i, certified := range []string{"kv-0", test.name} {
					ca.issue(t, dirs[i], []string{certified})
					load := func() (*tls.Config, error) { return mutualTLS(filepath.Join(dirs[i], "tls")) }
					m, err := core.NewManager(core.Config{Local: nodes[i], Peers: nodes, Transport: websocket.New(websocket.Options{
						GetTLS: load, DialContext: network.DialContext, Listen: network.ListenContext,
					})})
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					if err := m.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					managers = append(managers, m)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := managers[0].WaitConnected(ctx)
				switch {
				case test.want == "" && err != nil:
					t.Error(err)
				case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
			})
		})
	}
}

// TestFilesThatDoNotFit holds that files which are not there yet, or not all of
// one certificate, are an error and no configuration.
func TestFilesThatDoNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority()
	if _, err := nodeTLS(filepath.Join(dir, "tls")); err == nil {
		t.Error("no files are a configuration")
	}
	ca.issue(t, dir, []string{"kv-0"})
	if _, err := nodeTLS(filepath.Join(dir, "tls")); err != nil {
		t.Error(err)
	}
	write(t, dir, "tls/tls.key", "half a key")
	if _, err := nodeTLS(filepath.Join(dir, "tls")); err == nil {
		t.Error("a certificate without its key was used")
	}
	ca.issue(t, dir, []string{"kv-0"})
	write(t, dir, "tls/ca.crt", "no certificate")
	if _, err := nodeTLS(filepath.Join(dir, "tls")); err == nil {
		t.Error("a node trusts nobody, and was set up")
	}
}
