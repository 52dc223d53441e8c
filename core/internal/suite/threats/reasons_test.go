package threats_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// TestRefusalsDiffer has two nodes that cannot connect for one reason at a time.
// What the dialler says differs from reason to reason and names what to look at;
// where the acceptor tells strangers no reason (W57) its own log has it (D25,
// D26).
func TestRefusalsDiffer(t *testing.T) {
	auth := core.SharedKey(testKey)
	seen := map[string]string{}
	for name, test := range map[string]struct {
		change   func(i int, cfg *core.Config)
		dialler  []string
		acceptor []string // in its log
	}{
		"cluster": {
			func(i int, cfg *core.Config) { cfg.Cluster = [2]string{"staging", "production"}[i] },
			[]string{"code 22", `"staging"`, `"production"`, "Config.Cluster"},
			[]string{`"staging"`},
		},
		"an unknown node": {
			func(i int, cfg *core.Config) {
				if i == 1 {
					cfg.Peers = nil
				}
			},
			[]string{"code 23", "not among the peers"},
			[]string{"not among the peers"},
		},
		"another node at the address": {
			func(i int, cfg *core.Config) {
				if i == 1 {
					cfg.Local.Name = "another"
				}
			},
			[]string{"code 23", `"another"`, "Config.Peers"},
			[]string{`"another"`},
		},
		"a wrong key": {
			func(i int, cfg *core.Config) {
				if i == 0 {
					cfg.Auth = core.SharedKey([]byte("not the key of the cluster"))
				}
			},
			[]string{"code 20", "tells strangers no reason", "Config.Auth"},
			[]string{"not made with a key"},
		},
		"version N+1 at the acceptor": {
			func(_ int, cfg *core.Config) { cfg.Transport = speaksNext(cfg.Transport, false) },
			[]string{"no common protocol version", "2 to 2 there", "1 here"},
			nil,
		},
		"version N+1 at the dialler": {
			func(_ int, cfg *core.Config) { cfg.Transport = speaksNext(cfg.Transport, true) },
			[]string{"code 21", "no common protocol version", "1 here"},
			[]string{"no common protocol version"},
		},
		"no gridmux": {
			func(_ int, cfg *core.Config) {
				cfg.ConnectTimeout = time.Second
				cfg.Transport = middle{cfg.Transport, func(passing) []byte { return wire.AppendPing(nil, 0x80, 0) }}
			},
			[]string{"no INIT", "does not speak gridmux"},
			[]string{"no INIT", "does not speak gridmux"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t, func(i int, cfg *core.Config) {
					cfg.Auth = auth
					test.change(i, cfg)
				})
				err := d.why(t, 0, 900*time.Millisecond)
				lab.WantText(t, "the dialler", err, append(test.dialler, d.names[1])...)
				for _, text := range test.acceptor {
					if log := d.books[1].String(); !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), text) {
						t.Errorf("the log of the acceptor does not mention %s:\n%s", text, log)
					}
				}
				if err != nil {
					_, reason, _ := strings.Cut(err.Error(), "hello: ")
					if other, ok := seen[reason]; ok {
						t.Errorf("%q and %q give the same reason: %s", name, other, reason)
					}
					seen[reason] = name
				}
			})
		})
	}
}

// speaksNext makes one side say that it speaks the next version of the protocol
// alone.
func speaksNext(tr transport.Transport, dialler bool) middle {
	return middle{tr, func(p passing) []byte {
		if p.byDialler == dialler && p.nth == 0 {
			p.frame[wire.HeaderSize+4], p.frame[wire.HeaderSize+5] = 2, 2
		}
		return p.frame
	}}
}
