package threats_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestAuthenticatorsOfUsers has an Authenticator misbehave in every way, in each
// of its methods, on either side. The attempt ends and says why, another attempt
// follows, nothing hangs, and Close returns (T29).
func TestAuthenticatorsOfUsers(t *testing.T) {
	const limit = time.Second
	type behaviour struct {
		prove  func(ctx context.Context) ([]byte, error)
		verify func(ctx context.Context, claimed string) (core.Identity, error)
		text   string
	}
	both := func(f func(ctx context.Context) error, text string) behaviour {
		return behaviour{
			func(ctx context.Context) ([]byte, error) { return []byte("x"), f(ctx) },
			func(ctx context.Context, claimed string) (core.Identity, error) {
				return core.Identity{Name: claimed}, f(ctx)
			},
			text,
		}
	}
	release := make(chan struct{})
	named := func(name string) behaviour {
		return behaviour{nil, func(context.Context, string) (core.Identity, error) { return core.Identity{Name: name}, nil }, "it proves the name"}
	}
	for name, b := range map[string]behaviour{
		"an error":                    both(func(context.Context) error { return errors.New("no key today") }, "no key today"),
		"a panic":                     both(func(context.Context) error { panic("boom") }, "the Authenticator panicked: boom"),
		"a panic with nil":            both(func(context.Context) error { panic(nil) }, "the Authenticator panicked"), //nolint:govet // That is the case.
		"runtime.Goexit":              both(func(context.Context) error { runtime.Goexit(); return nil }, "the Authenticator did not return"),
		"no end":                      both(func(context.Context) error { <-release; return nil }, "not finished within 1s"),
		"no end but that of its ctx":  both(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "not finished within 1s"),
		"a proof that is too long":    {func(context.Context) ([]byte, error) { return make([]byte, 8193), nil }, nil, "8193 bytes: at most 8192"},
		"another name":                named("mallory"),
		"no name":                     named(""),
		"a name that is nearly right": named("A"),
		"the name of the node's own": {nil, func(_ context.Context, claimed string) (core.Identity, error) {
			return core.Identity{Name: claimed + "\x00"}, nil
		}, "it proves the name"},
		"an error whose text is blank": both(func(context.Context) error { return errors.New("") }, ""),
	} {
		for side := range 2 {
			for _, method := range []string{"Prove", "Verify"} {
				if method == "Prove" && b.prove == nil || method == "Verify" && b.verify == nil {
					continue
				}
				t.Run(fmt.Sprintf("%s in %s of node %d", name, method, side), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						release = make(chan struct{})
						var bad atomic.Bool
						var tries atomic.Int32
						bad.Store(true)
						auth := ownAuth{method: "own"}
						good := auth
						if method == "Prove" {
							auth.prove = func(ctx context.Context, peer string) ([]byte, error) {
								if tries.Add(1); bad.Load() {
									return b.prove(ctx)
								}
								return good.Prove(ctx, peer, make([]byte, 32))
							}
						} else {
							auth.verify = func(ctx context.Context, claimed string) (core.Identity, error) {
								if tries.Add(1); bad.Load() {
									return b.verify(ctx, claimed)
								}
								return core.Identity{Name: claimed, Method: "own"}, nil
							}
						}
						d := newDuo(t, func(i int, cfg *core.Config) {
							cfg.Auth, cfg.ConnectTimeout, cfg.MaxBackoff = good, limit, 100*time.Millisecond
							if i == side {
								cfg.Auth = auth
							}
						})
						// Only one side dials in this time.
						err := d.why(t, 0, 900*time.Millisecond)
						if err == nil {
							t.Fatal("the nodes are connected")
						}
						time.Sleep(200 * time.Millisecond)
						if side == 0 {
							lab.WantText(t, "the dialler", d.why(t, 0, time.Nanosecond), b.text, d.names[1])
						} else {
							lab.WantText(t, "the acceptor's log", errors.New(d.books[1].String()), b.text)
						}
						if bad.Store(false); tries.Load() == 0 {
							t.Error("the method was never called")
						}
						if err := d.why(t, 0, 10*time.Second); err != nil {
							t.Errorf("the nodes do not connect when the Authenticator behaves: %v", err)
						}
						bad.Store(true)
						d.network.Cut(d.names[0], d.names[1])
						time.Sleep(1500 * time.Millisecond)
						began := time.Now()
						d.close()
						if took := time.Since(began); took > 0 {
							t.Errorf("Close took %v while an Authenticator was at work", took)
						}
						close(release)
					})
				})
			}
		}
	}
}

// TestSlowAuthenticator holds that both methods may be slow and concurrent: a proof
// that takes long does not hold up other peers (F6).
func TestSlowAuthenticator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := ownAuth{method: "slow", verify: func(ctx context.Context, claimed string) (core.Identity, error) {
			select {
			case <-time.After(4 * time.Second):
			case <-ctx.Done():
			}
			return core.Identity{Name: claimed, Method: "slow"}, ctx.Err()
		}}
		began := time.Now()
		c := lab.InmemLink().Cluster(t, 10, withAuth(func(int, string) core.Authenticator { return slow }), lab.Configure(func(cfg *core.Config) { cfg.ConnectTimeout = 10 * time.Second }))
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("ten nodes that take 4s for each proof were connected after %v, want them all at once", took)
		}
		lab.MustCall(t, c.Conn(0, 9), "echo", nil)
	})
}
