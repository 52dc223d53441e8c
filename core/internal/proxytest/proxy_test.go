//go:build external && linux

package proxytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// patience bounds whatever a test waits for.
const patience = 20 * time.Second

// connected waits until both nodes have the other.
func (c *cluster) connected(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, m := range c.nodes {
		if err := m.WaitConnected(ctx); err != nil {
			t.Fatalf("%s does not connect behind nginx: %v", c.names[i], err)
		}
	}
}

// exchange calls the other node from each.
func (c *cluster) exchange(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, link := range c.links() {
		if got, err := link.Request(ctx, "echo", []byte("hello")); err != nil || string(got) != "hello" {
			t.Fatalf("a call from %s: %q, %v", c.names[i], got, err)
		}
	}
}

// TestBehindNginx expects two nodes, set up as docs/nginx.md says, to find each
// other and to call each other both ways, with messages of all sizes, many at
// once.
func TestBehindNginx(t *testing.T) {
	c := start(t, setup{})
	c.connected(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i, link := range c.links() {
		for _, size := range []int{0, 1, 512, 65_536, 1 << 20, 10 << 20} {
			for n := range 1 + 20_000/(size+1000) {
				wg.Go(func() {
					want := bytes.Repeat(fmt.Appendf(nil, "%d %d %d,", i, size, n), size/5+1)[:size]
					if got, err := link.Request(ctx, "echo", want); err != nil || !bytes.Equal(got, want) {
						t.Errorf("a call of %d bytes from %s: %d bytes, %v", size, c.names[i], len(got), err)
					}
				})
			}
		}
	}
	wg.Wait()
}

// TestIdleBehindNginx expects a link without calls to outlive nginx's time-out as
// long as the keep-alive is more frequent, and shows that the test would notice:
// with the time-out the shorter one, nginx ends the link.
func TestIdleBehindNginx(t *testing.T) {
	for _, test := range []struct {
		name      string
		keepAlive time.Duration
		lives     bool
	}{
		{"keep-alive shorter than the time-out", 300 * time.Millisecond, true},
		{"keep-alive longer than the time-out", time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, setup{
				conf: func(conf string) string { return replaced(t, conf, "_timeout 60s;", "_timeout 2s;") },
				node: func(cfg *core.Config, _ int) { cfg.KeepAlive, cfg.KeepAliveTimeout = test.keepAlive, test.keepAlive },
			})
			c.connected(t)
			c.exchange(t)
			// A call that nobody answers ends with the link, or else with its
			// deadline.
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := c.links()[0].Request(ctx, "wait", nil)
			if lives := errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, core.ErrDisconnected); lives != test.lives {
				t.Errorf("five seconds without calls: %v, want the link to live: %v", err, test.lives)
			}
			if test.lives {
				c.exchange(t)
			}
		})
	}
}

// refusals returns why the two nodes do not connect. Of the two the one that
// dials knows.
func (c *cluster) refusals(t *testing.T) string {
	t.Helper()
	var texts [2]string
	var wg sync.WaitGroup
	for i, m := range c.nodes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			err := m.WaitConnected(ctx)
			if err == nil {
				t.Errorf("%s is connected all the same", c.names[i])
				return
			}
			texts[i] = strings.ReplaceAll(err.Error(), `\"`, `"`)
		})
	}
	wg.Wait()
	return strings.Join(texts[:], "\n")
}

// wantRefusals checks what the nodes say, and that the page has a line with the
// first two of the texts.
func wantRefusals(t *testing.T, got string, says ...string) {
	t.Helper()
	for _, want := range says {
		if !strings.Contains(got, want) {
			t.Errorf("the errors do not say %q:\n%s", want, got)
		}
	}
	if first := says[:min(len(says), 2)]; !pageMentions(t, first...) {
		t.Errorf("%s has no line that says %q", pageFile, first)
	}
}

// TestNginxInTheWay expects the error of a node to say what is wrong with the
// proxy, and the page to have a line about it.
func TestNginxInTheWay(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(t *testing.T, conf string) string
		says []string
	}{
		{"HTTP/1.0", func(t *testing.T, conf string) string { return without(t, conf, "proxy_http_version") }, []string{
			"400 Bad Request", "came over HTTP/1.0", "has to use HTTP/1.1",
		}},
		{"no Upgrade", func(t *testing.T, conf string) string { return without(t, conf, "proxy_set_header Upgrade") }, []string{
			"426 Upgrade Required", "has to pass the Upgrade and Connection headers on",
		}},
		{"no Connection", func(t *testing.T, conf string) string { return without(t, conf, "proxy_set_header Connection") }, []string{
			"400 Bad Request", `the Connection header lacks "Upgrade"`, "a proxy is in between",
		}},
		{"other path", func(t *testing.T, conf string) string {
			return replaced(t, conf, "location = /gridmux/v1 {", "location / {\nreturn 404;\n}\nlocation = /elsewhere {")
		}, []string{"404 Not Found"}},
		{"other port", func(t *testing.T, conf string) string {
			return replaced(t, conf, "proxy_pass http://127.0.0.1:", "proxy_pass http://127.0.0.2:")
		}, []string{"502 Bad Gateway"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, setup{conf: func(conf string) string { return test.edit(t, conf) }})
			wantRefusals(t, c.refusals(t), test.says...)
		})
	}
}

// TestProxyIsNotExpected expects nodes of which not both allow a proxy to refuse
// each other with an error that names the option, and nodes with different keys
// to get nowhere, with nginx between them or not.
func TestProxyIsNotExpected(t *testing.T) {
	for _, test := range []struct {
		name string
		node func(cfg *core.Config, node int)
		says []string
	}{
		{"neither", func(cfg *core.Config, _ int) { cfg.AllowTLSProxy = false }, []string{"Config.AllowTLSProxy", "ends TLS", "on both nodes"}},
		{"only the first", func(cfg *core.Config, node int) { cfg.AllowTLSProxy = node == 0 }, []string{"Config.AllowTLSProxy", "ends TLS", "on both nodes"}},
		{"only the second", func(cfg *core.Config, node int) { cfg.AllowTLSProxy = node == 1 }, []string{"Config.AllowTLSProxy", "ends TLS", "on both nodes"}},
		{"different keys", func(cfg *core.Config, node int) {
			cfg.Auth = core.SharedKey(fmt.Appendf(nil, "a key of node %d alone", node))
		}, []string{"rejected by the peer", "the log of that node has it", "Config.Auth"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantRefusals(t, start(t, setup{node: test.node}).refusals(t), test.says...)
		})
	}
}

// pageMentions reports whether a line of the page has all the texts.
func pageMentions(t *testing.T, texts ...string) bool {
	t.Helper()
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}
