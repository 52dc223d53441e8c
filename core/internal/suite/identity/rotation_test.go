package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// fleet is a cluster whose nodes get other certificates while they run.
type fleet struct {
	*coretest.Cluster
	ledger  *coretest.Ledger
	network secureNetwork
	books   []*lab.StateBook
	configs [3]atomic.Pointer[tls.Config] // by node

	mu   sync.Mutex
	seen []*x509.Certificate // by either side of every handshake
}

func newFleet(t *testing.T, l secureLink, issuer *devtls.Authority) *fleet {
	f := &fleet{ledger: coretest.NewLedger(), network: l.network(t)}
	for i := range f.configs {
		f.give(i, issuer, issuer)
	}
	books, note := lab.Books(len(f.configs))
	f.books = books
	log := new(lab.LogBook)
	f.Cluster = coretest.NewCluster(t, len(f.configs), note,
		coretest.WithTransport(func(i int, name string) (transport.Transport, string) {
			return f.network.node(name, func() (*tls.Config, error) { return f.configs[i].Load(), nil }, nil, log), name + ":1"
		}),
		lab.Configure(func(cfg *core.Config) { cfg.AllowInsecure = false }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error { return f.ledger.Register(m) }),
	)
	return f
}

// give has a node use a new certificate from here on, and trust some authorities.
func (f *fleet) give(i int, issuer *devtls.Authority, trusted ...*devtls.Authority) {
	c := issuer.Config(fmt.Sprintf("node-%d", i))
	c.RootCAs = x509.NewCertPool()
	for _, ca := range trusted {
		c.RootCAs.AddCert(ca.Certificate())
	}
	c.ClientCAs = c.RootCAs
	c.VerifyConnection = func(s tls.ConnectionState) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.seen = append(f.seen, s.PeerCertificates[0])
		return nil
	}
	f.configs[i].Store(c)
}

// shown returns the certificates that were shown since it was called the last time.
func (f *fleet) shown() []*x509.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// losses is how often connections were lost.
func (f *fleet) losses() (n int) {
	for _, b := range f.books {
		for _, s := range b.Of("") {
			if s.From == core.StateConnected {
				n++
			}
		}
	}
	return n
}

// call makes one call of a caller who repeats what was not run, and, where
// connections are cut, what may have; it is over in time.
func (f *fleet) call(t *testing.T, from, to int, cutting *atomic.Bool) {
	began := time.Now()
	for {
		err := f.ledger.Call(t.Context(), f.Conn(from, to), fmt.Sprintf("%d to %d", from, to), coretest.LedgerAppend,
			coretest.Job{Mode: coretest.Slow, For: 20 * time.Millisecond}, core.WaitForConnection(), core.WithTimeout(10*time.Second))
		outcome := core.OutcomeOf(err)
		switch {
		case err == nil:
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("a call was answered after %v", d)
			}
			return
		case outcome == core.OutcomeNotSent || outcome == core.OutcomeRefused:
		case cutting.Load() && outcome == core.OutcomeMaybeRun && errors.Is(err, core.ErrDisconnected):
		default:
			t.Errorf("a call from node %d to %d failed: outcome %q of %v", from, to, outcome, err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestRotationUnderLoad replaces the certificates of three nodes, and then the
// authority, in the order that docs/operating.md says, while the nodes call each
// other: one node after the other, with connections that are cut on purpose and a
// node that is restarted in every round. No call is lost; no connection is until it
// is cut; what is made after a round uses certificates of it; and the old authority
// gets nobody in afterwards (F27).
func TestRotationUnderLoad(t *testing.T) {
	overSecureLinks(t, func(t *testing.T, l secureLink) {
		before, after := devtls.New(), devtls.New()
		f := newFleet(t, l, before)
		f.shown()
		var over, cutting atomic.Bool
		var load sync.WaitGroup
		for from := range 2 { // node 2 is restarted
			for to := range f.Len() {
				load.Go(func() {
					for !over.Load() {
						f.call(t, from, to, &cutting)
						time.Sleep(rand.N(30 * time.Millisecond)) // so that some are in progress at every moment
					}
				})
			}
		}
		used := map[string]bool{}
		for _, round := range []struct {
			name    string
			issuer  *devtls.Authority
			trusted []*devtls.Authority
		}{
			{"new certificates", before, []*devtls.Authority{before}},
			{"both authorities are trusted", before, []*devtls.Authority{before, after}},
			{"the new one issues", after, []*devtls.Authority{before, after}},
			{"the new one alone is trusted", after, []*devtls.Authority{after}},
		} {
			lost := f.losses()
			for i := range f.Len() {
				f.give(i, round.issuer, round.trusted...)
				time.Sleep(time.Second)
				if n := f.losses() - lost; n != 0 {
					t.Errorf("%s: %d connections were lost by it", round.name, n)
				}
				// Half of the cluster has what is new.
				cutting.Store(true)
				f.network.cut()
				time.Sleep(5 * time.Second)
				cutting.Store(false)
				f.WaitConnected()
				lost = f.losses()
			}
			f.shown()
			doubts := f.ledger.Counts().MaybeRun
			if err := f.Manager(2).Shutdown(t.Context()); err != nil {
				t.Errorf("%s: Shutdown returned %v", round.name, err)
			}
			f.Restart(2)
			f.WaitConnected()
			time.Sleep(time.Second)
			if n := f.ledger.Counts().MaybeRun - doubts; n != 0 {
				t.Errorf("%s: the restart of a node left %d callers in doubt", round.name, n)
			}
			shown := f.shown()
			if len(shown) < 4 { // both sides of two connections
				t.Errorf("%s: %d handshakes", round.name, len(shown))
			}
			now := map[string]bool{}
			for _, cert := range shown {
				if err := cert.CheckSignatureFrom(round.issuer.Certificate()); err != nil {
					t.Errorf("%s: the certificate of %s is of the other authority", round.name, cert.Subject.CommonName)
				}
				serial := cert.SerialNumber.String()
				if now[serial] = true; used[serial] {
					t.Errorf("%s: %s has shown a certificate of an earlier round", round.name, cert.Subject.CommonName)
				}
			}
			for serial := range now {
				used[serial] = true
			}
		}
		over.Store(true)
		load.Wait()
		counts := f.ledger.Counts()
		if counts.OK < 1000 || counts.MaybeRun == 0 {
			t.Errorf("%+v: want many successes, and doubts where connections were cut", counts)
		}

		f.give(2, before, before, after)
		f.Restart(2)
		time.Sleep(20 * time.Second)
		for from := range 2 {
			if s := f.Conn(from, 2).State(); s != core.StateConnecting {
				t.Errorf("a node with a certificate of the old authority: %v", s)
			}
		}
		for i := range f.Len() {
			f.Manager(i).Close()
		}
		if err := f.ledger.WaitIdle(t.Context()); err != nil {
			t.Error(err)
		}
		if err := f.ledger.Check(); err != nil {
			t.Error(err)
		}
		if n := f.network.open(); n != 0 {
			t.Errorf("%d ends of connections are left", n)
		}
	})
}
