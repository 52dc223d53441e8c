package netstream_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/devtls"
)

// TestTLS expects crypto/tls to run over a connection, in both roles, with its
// own half-close and end.
func TestTLS(t *testing.T) {
	bothWays(t, func(t *testing.T, _ *nodes, one, other net.Conn) {
		text := lab.Pattern(1, 1<<20)
		serverConfig := devtls.Config("server")
		clientConfig := devtls.Config("client")
		clientConfig.ServerName = "server"
		client, server := tls.Client(one, clientConfig), tls.Server(other, serverConfig)
		served := lab.Go(func() error {
			if err := server.HandshakeContext(t.Context()); err != nil {
				return err
			}
			got, err := io.ReadAll(server)
			if err == nil && !bytes.Equal(got, text) {
				err = errors.New("other bytes arrived than were sent")
			}
			_, writeErr := server.Write(got)
			return errors.Join(err, writeErr, server.Close())
		})
		if _, err := client.Write(text); err != nil {
			t.Fatalf("the client wrote %v", err)
		}
		if err := client.CloseWrite(); err != nil {
			t.Errorf("CloseWrite returned %v", err)
		}
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("the client read %d bytes, %v", len(got), err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		if err := lab.Wait(t, served, "the server is done"); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
}
