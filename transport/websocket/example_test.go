package websocket_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// echo does what the core does with a transport: it connects the dialler to the
// listener and sends a frame there and back.
func echo(dialler *websocket.Transport, l transport.Listener, to transport.Peer) (string, error) {
	ctx := context.Background()
	c, err := dialler.Dial(ctx, to)
	if err != nil {
		return "", err
	}
	defer c.CloseWithError(0, "")
	s, err := l.Accept(ctx)
	if err != nil {
		return "", err
	}
	defer s.CloseWithError(0, "")
	frame := func(c transport.Conn, payload []byte) [][]byte {
		return [][]byte{append(make([]byte, c.Info().Headroom), payload...)}
	}
	if err := c.WriteFrames(frame(c, []byte("hello"))); err != nil {
		return "", err
	}
	p, err := s.ReadFrame(1024)
	if err != nil {
		return "", err
	}
	if err := s.WriteFrames(frame(s, p)); err != nil {
		return "", err
	}
	p, err = c.ReadFrame(1024)
	return string(p), err
}

// A node with a port of its own needs no options. The core calls Listen with the
// node's address and Dial with those of its peers.
func ExampleNew() {
	a, b := websocket.New(websocket.Options{}), websocket.New(websocket.Options{})

	l, err := b.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println(echo(a, l, transport.Peer{Name: "b", Addr: l.Addr().String()}))
	// Output: hello <nil>
}

// With mutual TLS a node presents one certificate in both directions, and the
// certificate of a peer must be valid for the peer's name.
func ExampleNew_tls() {
	cert, err := tls.LoadX509KeyPair("node.pem", "node-key.pem")
	if err != nil {
		log.Fatal(err)
	}
	cluster := clusterRoots()
	t := websocket.New(websocket.Options{TLS: &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      cluster,
		ClientCAs:    cluster,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}})
	_ = t // core.Config{Transport: t}
}

// A node that takes only peers whose certificates have a SPIFFE id of the cluster,
// besides being issued by its authority and for the name of the node. The same
// function is the place for pinned keys and for a list of what was revoked.
func ExampleNew_verify() {
	verify := func(s tls.ConnectionState) error {
		for _, id := range s.PeerCertificates[0].URIs {
			if id.Scheme == "spiffe" && id.Host == "prod.example" && strings.HasPrefix(id.Path, "/grid/") {
				return nil
			}
		}
		return errors.New("the certificate has no SPIFFE id of the cluster")
	}
	cluster := clusterRoots()
	t := websocket.New(websocket.Options{TLS: &tls.Config{
		RootCAs:          cluster,
		ClientCAs:        cluster,
		ClientAuth:       tls.RequireAndVerifyClientCert,
		VerifyConnection: verify, // in both roles
	}})
	_ = t // core.Config{Transport: t}
}

// A node whose certificate and authorities are replaced while it runs, by whatever
// renews the files. While one authority replaces another, ca.pem has both.
func ExampleNew_rotation() {
	load := func() (*tls.Config, error) {
		cert, err := tls.LoadX509KeyPair("node.pem", "node-key.pem")
		if err != nil {
			return nil, err
		}
		pem, err := os.ReadFile("ca.pem")
		if err != nil {
			return nil, err
		}
		cluster := x509.NewCertPool()
		cluster.AppendCertsFromPEM(pem)
		return &tls.Config{
			Certificates: []tls.Certificate{cert},
			RootCAs:      cluster,
			ClientCAs:    cluster,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		}, nil
	}
	t := websocket.New(websocket.Options{GetTLS: load}) // called at every handshake
	_ = t                                               // core.Config{Transport: t}
}

// A program that serves HTTP anyway mounts the transport on its own server: no
// further port, and Listen opens none.
func ExampleTransport_ServeHTTP() {
	t := websocket.New(websocket.Options{Mounted: true})

	mux := http.NewServeMux()
	mux.Handle(websocket.DefaultPath, t)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	srv := httptest.NewServer(mux)
	defer srv.Close()

	// The core does this at Start. Until then peers get 503.
	l, err := t.Listen(context.Background(), srv.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println(echo(websocket.New(websocket.Options{}), l, transport.Peer{Name: "b", Addr: l.Addr().String()}))
	// Output: hello <nil>
}
