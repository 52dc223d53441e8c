package threats_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const rawDialler, rawAcceptor = "gridmux/1 dialler", "gridmux/1 acceptor"

// rawTranscript is the rule of W71, written down once more. said are the frames
// of both sides before PROOF.
func rawTranscript(role string, said, binding []byte) []byte {
	frames := sha256.Sum256(said)
	sum := sha256.Sum256(slices.Concat([]byte(role), []byte{0}, frames[:], binding))
	return sum[:]
}

// rawIdentity is what a node proves itself and its peers by: the rule of W72,
// written down once more.
type rawIdentity struct {
	shared  []byte // if not nil, and else
	private ed25519.PrivateKey
	public  func(name string) ed25519.PublicKey
}

func (id rawIdentity) prove(transcript []byte) []byte {
	if id.shared != nil {
		mac := hmac.New(sha256.New, id.shared)
		mac.Write(slices.Concat([]byte("gridmux/1 shared key\x00"), transcript))
		return mac.Sum(nil)
	}
	return ed25519.Sign(id.private, slices.Concat([]byte("gridmux/1 node key\x00"), transcript))
}

func (id rawIdentity) proves(name string, transcript, proof []byte) bool {
	if id.shared != nil {
		return bytes.Equal(id.prove(transcript), proof)
	}
	return ed25519.Verify(id.public(name), slices.Concat([]byte("gridmux/1 node key\x00"), transcript), proof)
}

// proof is PROOF of a role after what was said.
func (id rawIdentity) proof(role string, said []byte) []byte {
	return wire.AppendProof(nil, id.prove(rawTranscript(role, said, nil)))
}

// identityKind is one of the means that come with the library.
type identityKind struct {
	name string
	auth func(name string) core.Authenticator
	of   func(name string) rawIdentity // what the node of that name has
}

var testKey = []byte("a key of at least sixteen bytes")

// nodeKey is the key pair of a node.
func nodeKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ed25519.PublicKey { return nodeKey(name).Public().(ed25519.PublicKey) }

// lookupKey knows the key of every node but mallory.
func lookupKey(name string) (ed25519.PublicKey, bool) {
	return publicKey(name), name != "mallory"
}

var identityKinds = []identityKind{
	{
		"shared key",
		func(string) core.Authenticator { return core.SharedKey(testKey) },
		func(string) rawIdentity { return rawIdentity{shared: testKey} },
	},
	{
		"node keys",
		func(name string) core.Authenticator { return core.NodeKeys(nodeKey(name), lookupKey) },
		func(name string) rawIdentity { return rawIdentity{private: nodeKey(name), public: publicKey} },
	},
}

// takeSaid takes a frame of the handshake, whose bytes it returns.
func takeSaid(p *lab.RawPeer, typ wire.Type) []byte {
	p.T.Helper()
	return lab.RawFrame(p.Want(typ, "the handshake goes on"))
}

// introduce goes through the handshake up to its own PROOF and returns what was
// said until then.
func introduce(p *lab.RawPeer, hello []byte) (said []byte) {
	p.T.Helper()
	own := lab.RawInit(1, 1)
	if p.Side == 0 {
		p.Write(own)
		said = append(own, takeSaid(p, wire.TypeInit)...)
	} else {
		said = append(takeSaid(p, wire.TypeInit), own...)
		p.Write(own)
		said = append(said, takeSaid(p, wire.TypeHello)...)
		said = append(said, takeSaid(p, wire.TypeProof)...)
	}
	p.Write(hello)
	return append(said, hello...)
}

// handshakeAs goes through the handshake as id and holds the subject to its
// proof.
func handshakeAs(p *lab.RawPeer, id rawIdentity) {
	p.T.Helper()
	var said, proof []byte
	subject := rawDialler
	if p.Side == 0 {
		said = introduce(p, p.HelloBytes())
		own := id.proof(rawDialler, said)
		p.Write(own)
		said = append(said, own...)
		hello := p.Want(wire.TypeHello, "the dialler has proved itself")
		p.Hello, _ = wire.ParseHello(&hello)
		said = append(said, lab.RawFrame(hello)...)
		proof, subject = takeSaid(p, wire.TypeProof), rawAcceptor
		p.Write(wire.AppendReady(nil))
	} else {
		said = takeSaid(p, wire.TypeInit)
		own := lab.RawInit(1, 1)
		p.Write(own)
		said = append(said, own...)
		said = append(said, takeSaid(p, wire.TypeHello)...)
		proof = takeSaid(p, wire.TypeProof)
		theirs := slices.Clone(said)
		own = p.HelloBytes()
		all := slices.Concat(said, proof, own)
		p.Write(own)
		p.Write(id.proof(rawAcceptor, all))
		p.Want(wire.TypeReady, "the dialler finds no fault")
		said = theirs
	}
	synctest.Wait() // the subject has a session
	if !id.proves(lab.SubjectName, rawTranscript(subject, said, nil), proof[wire.HeaderSize:]) {
		p.T.Errorf("the PROOF of the subject as %s is not what W71 and W72 make of the handshake", subject)
	}
}

// TestProtocolProofs holds both roles of a node to W70, W71 and W72, against an
// implementation of the test's own.
func TestProtocolProofs(t *testing.T) {
	for _, kind := range identityKinds {
		for _, dials := range []bool{false, true} {
			lab.RawTest(t, fmt.Sprintf("W71 W72 %s, the subject dials %v", kind.name, dials), lab.RawSetup{Auth: kind.auth, Dials: dials}, func(_ *testing.T, r *lab.RawCluster) {
				for range 3 {
					var p *lab.RawPeer
					if dials {
						p = r.Accept()
					} else {
						p = r.Dial()
					}
					handshakeAs(p, kind.of(r.Name))
					p.WantLife(0, "a node that has proved itself")
					p.Conn.CloseWithError(0, "")
				}
			})
		}
	}
	// Without TLS at either end there is nothing to bind to, whatever a proxy
	// may do, and bits that are not known say nothing. With a proxy that both
	// allow nothing is bound, wherever TLS is spoken.
	for _, proxy := range []bool{false, true} {
		setup := lab.RawSetup{Auth: identityKinds[0].auth, Config: func(cfg *core.Config) { cfg.AllowTLSProxy = proxy }}
		lab.RawTest(t, fmt.Sprintf("W70 the subject allows a proxy: %v", proxy), setup, func(t *testing.T, r *lab.RawCluster) {
			for link, good := range map[wire.LinkFlags]bool{
				0: true, wire.LinkProxy: true, 0xfc: true, 0xff: proxy,
				wire.LinkTLS: false, wire.LinkTLS | wire.LinkProxy: proxy,
			} {
				p := r.Dial()
				own := wire.AppendInit(nil, &wire.Init{MinVersion: 1, MaxVersion: 1, Link: link})
				p.Write(own)
				subject := takeSaid(p, wire.TypeInit)
				if allows := subject[wire.HeaderSize+6]; (allows == byte(wire.LinkProxy)) != proxy || allows&byte(wire.LinkTLS) > 0 {
					t.Errorf("W70: the subject says %#x of its link without TLS", allows)
				}
				if !good {
					p.WantRejected("W70: TLS at one end only")
					continue
				}
				said, hello := append(own, subject...), p.HelloBytes()
				p.Write(hello)
				p.Write(rawIdentity{shared: testKey}.proof(rawDialler, append(said, hello...)))
				p.TakeHello()
				p.WantLife(0, "W70: nothing to bind to")
				p.Conn.CloseWithError(0, "")
			}
		})
	}
}
