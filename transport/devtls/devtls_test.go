package devtls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// shake lets a client expect a server of that name, and returns what either side
// has to say and the certificates that client and server have seen.
func shake(t *testing.T, client, server *tls.Config, expect string) (seen [2]*x509.Certificate, errs [2]error) {
	t.Helper()
	mem := memnet.Listen("a:1")
	defer mem.Close()
	nc, err := mem.DialContext(t.Context(), "tcp", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	far, err := mem.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	client = client.Clone()
	client.ServerName = transport.CertificateName(expect)
	served := make(chan error, 1)
	half := func(c *tls.Conn, nc net.Conn, at int) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			nc.Close()
			return err
		}
		seen[at] = c.ConnectionState().PeerCertificates[0]
		return nil
	}
	go func() { served <- half(tls.Server(far, server), far, 1) }()
	errs[0] = half(tls.Client(nc, client), nc, 0)
	errs[1] = <-served
	return seen, errs
}

// TestConfig expects nodes of any name to prove it to each other in both roles,
// and no node to pass for another.
func TestConfig(t *testing.T) {
	names := []string{
		"n1", "node_2", "kv-0.kv.example", "rack 3/node 1", "10.0.0.1:7000", "[fd00::1]:7000", "127.0.0.1", "a:1",
		"köln", "节点", "*", "*.example", "50%", "a\x00b", "..", "-", strings.Repeat("x", 255), strings.Repeat("ö", 127), "trailing.",
	}
	synctest.Test(t, func(t *testing.T) {
		ca := devtls.New()
		for i, name := range names {
			other := names[(i+1)%len(names)]
			seen, errs := shake(t, ca.Config(other), ca.Config(name), name)
			if err := errors.Join(errs[:]...); err != nil {
				t.Errorf("%q and %q: %v", other, name, err)
				continue
			}
			if err := seen[1].VerifyHostname(transport.CertificateName(other)); err != nil {
				t.Errorf("the client's certificate: %v", err)
			}
			for _, third := range names {
				if valid := seen[0].VerifyHostname(transport.CertificateName(third)) == nil; valid != (third == name) {
					t.Errorf("the certificate of %q is valid for %q: %v", name, third, valid)
				}
			}
		}
	})
}

// TestStrangers expects nobody in who has no certificate of the authority, and
// each side to say why it does not trust the other.
func TestStrangers(t *testing.T) {
	ca, other := devtls.New(), devtls.New()
	knows := func(c *tls.Config) *tls.Config { c.RootCAs = ca.Config("x").RootCAs; return c }
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		expect         string
		says           [2]string // of the client, of the server
	}{
		{"a server of another authority", ca.Config("a"), other.Config("b"), "b", [2]string{"unknown authority", ""}},
		{"a server of another name", ca.Config("a"), ca.Config("c"), "b", [2]string{"certificate is valid for c, not b", ""}},
		{"a client of another authority", knows(other.Config("a")), ca.Config("b"), "b", [2]string{"", "unknown authority"}},
		{"a client without", &tls.Config{RootCAs: knows(&tls.Config{}).RootCAs}, ca.Config("b"), "b", [2]string{"", "didn't provide a certificate"}},
		{"no name", ca.Config("a"), ca.Config(""), "b", [2]string{"", "needs the name of a node"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, errs := shake(t, c.client, c.server, c.expect)
				for i, want := range c.says {
					if want != "" && (errs[i] == nil || !strings.Contains(errs[i].Error(), want)) {
						t.Errorf("side %d says %v, want %q", i, errs[i], want)
					}
				}
			})
		})
	}
}

// TestConfigsAreTheCallers expects what one node is made to trust besides to be trusted
// by no other one, in neither role.
func TestConfigsAreTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := devtls.New(), devtls.New()
		changed := ca.Config("a")
		changed.RootCAs.AddCert(other.Certificate())
		if _, errs := shake(t, changed, other.Config("b"), "b"); errs[0] != nil {
			t.Errorf("a client that was made to trust another authority: %v", errs[0])
		}
		for _, c := range []struct {
			name           string
			client, server *tls.Config
			expect         string
			at             int // who has to object
		}{
			{"another node", ca.Config("c"), other.Config("b"), "b", 0},
			{"another node, as a server", other.Config("b"), ca.Config("c"), "c", 1},
			{"the same one, as a server", other.Config("b"), changed, "a", 1},
		} {
			c.client.GetClientCertificate = other.Config("b").GetClientCertificate
			if c.at == 1 {
				c.client.RootCAs = ca.Config("x").RootCAs
			}
			if _, errs := shake(t, c.client, c.server, c.expect); errs[c.at] == nil || !strings.Contains(errs[c.at].Error(), "unknown authority") {
				t.Errorf("%s trusts an authority that it was not told of: %v", c.name, errs)
			}
		}
	})
}

// TestRenewal expects the certificate of a configuration to be the same one for
// half a day, a new one from then on, and never an expired one; and one authority
// to serve bubbles, where it is the year 2000, and the rest of the process.
func TestRenewal(t *testing.T) {
	ca := devtls.New()
	server, client := ca.Config("b"), ca.Config("a")
	meet := func(t *testing.T) *x509.Certificate {
		t.Helper()
		seen, errs := shake(t, client, server, "b")
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(seen[0].NotAfter); left < 12*time.Hour || left > 24*time.Hour {
			t.Errorf("the certificate is valid for another %v", left)
		}
		return seen[0]
	}
	outside := meet(t)
	synctest.Test(t, func(t *testing.T) {
		first := meet(t)
		if first.Equal(outside) {
			t.Error("in the bubble it is the certificate of another time")
		}
		time.Sleep(11 * time.Hour)
		if !meet(t).Equal(first) {
			t.Error("a certificate was replaced before half of its time was over")
		}
		for range 10 {
			time.Sleep(13 * time.Hour)
			next := meet(t)
			if next.Equal(first) || next.SerialNumber.Cmp(first.SerialNumber) == 0 {
				t.Error("a certificate was not replaced after half of its time")
			}
			first = next
		}
		if again, _ := shake(t, client, ca.Config("b"), "b"); again[0].Equal(first) {
			t.Error("another Config has the same certificate")
		}
		time.Sleep(math.MaxInt64 / 8)
		meet(t)
	})
}

// TestIssue expects a certificate to be what change makes of it.
func TestIssue(t *testing.T) {
	ca := devtls.New()
	past := time.Now().Add(-time.Minute)
	cert, err := ca.Issue("n1", func(c *x509.Certificate) {
		c.DNSNames = append(c.DNSNames, "n2")
		c.NotAfter = past
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := cert.Leaf.DNSNames; len(got) != 2 || got[0] != "n1" || got[1] != "n2" || cert.Leaf.NotAfter.After(past) {
		t.Errorf("the certificate is for %v, until %v", got, cert.Leaf.NotAfter)
	}
	if err := cert.Leaf.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	if _, err := ca.Issue("n1", func(c *x509.Certificate) { c.DNSNames = []string{"ö"} }); err == nil {
		t.Error("a certificate was issued for what cannot be in one")
	}
}
