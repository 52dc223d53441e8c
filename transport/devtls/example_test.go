package devtls_test

import (
	"crypto/tls"
	"fmt"
	"log"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// Two nodes prove their names to each other with certificates that are made on the
// spot. A transport does this part by itself, with
//
//	websocket.New(websocket.Options{TLS: devtls.Config("n1")})
func ExampleConfig() {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", devtls.Config("n1"))
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		config := devtls.Config("n2")
		config.ServerName = transport.CertificateName("n1") // whom n2 expects
		nc, err := tls.Dial("tcp", ln.Addr().String(), config)
		if err != nil {
			log.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprintln(nc, "hello")
	}()

	nc, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	var said string
	if _, err := fmt.Fscan(nc, &said); err != nil {
		log.Fatal(err)
	}
	fmt.Println(said, nc.(*tls.Conn).ConnectionState().PeerCertificates[0].VerifyHostname("n2"))
	// Output: hello <nil>
}
