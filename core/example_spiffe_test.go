package core_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/gridmux/gridmux/core"
)

// spiffe is an Authenticator for nodes whose certificates have a SPIFFE id and no
// DNS name: node n1 is spiffe://prod.example/grid/n1. The certificate proves it, and
// TLS that whoever has shown it is at the other end, so nothing is sent beside it.
type spiffe struct{}

func (spiffe) Prove(context.Context, string, []byte) ([]byte, error) { return nil, nil }

func (spiffe) Verify(ctx context.Context, claimed string, _, _ []byte) (core.Identity, error) {
	state := core.TLSFromContext(ctx)
	if state == nil || len(state.PeerCertificates) == 0 {
		return core.Identity{}, errors.New("the link has no certificate of the node")
	}
	for _, id := range state.PeerCertificates[0].URIs {
		if id.String() == "spiffe://prod.example/grid/"+claimed {
			return core.Identity{Name: claimed, Method: "SPIFFE"}, nil
		}
	}
	return core.Identity{}, fmt.Errorf("the certificate has no SPIFFE id of node %q", claimed)
}

// spiffeTLS returns a configuration that verifies who has issued the certificate of
// a peer, in both roles, and leaves the name to the Authenticator.
func spiffeTLS(cert tls.Certificate, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{cert},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			})
			return err
		},
	}
}

// Nodes are known by their SPIFFE ids.
func ExampleTLSFromContext() {
	_ = spiffeTLS(workloadAPI()) // websocket.Options{TLS: …}
	_ = core.Config{Auth: spiffe{}}
}

// workloadAPI stands for what a node gets from its SPIFFE agent.
func workloadAPI() (tls.Certificate, *x509.CertPool) { return tls.Certificate{}, x509.NewCertPool() }
