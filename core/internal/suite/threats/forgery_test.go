package threats_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// refusal is all that a dialler that is refused can see: bytes, how the
// connection ended, and when.
func refusal(p *lab.RawPeer, began time.Time) string {
	p.T.Helper()
	synctest.Wait()
	closed, _ := errors.AsType[*transport.CloseError](p.Ended())
	return fmt.Sprintf("%x, %+v, after %v", p.Unread(), closed, p.EndTime().Sub(began))
}

// rejectedWithoutAWord is a refusal by W57.
var rejectedWithoutAWord = fmt.Sprintf("%x, %+v, after 0s",
	wire.AppendStatus(nil, wire.TypeReject, 0, wire.Status{Code: wire.CodeRejected}),
	&transport.CloseError{Code: uint32(wire.CodeRejected)})

// forgeries are the proofs of diallers that must not get in, given what was
// said before PROOF.
func forgeries(kind identityKind, raw string) map[string]func(said []byte) []byte {
	own := kind.of(raw)
	proofOf := func(id rawIdentity) func(said []byte) []byte {
		return func(said []byte) []byte { return id.proof(rawDialler, said) }
	}
	proves := func(transcript func(said []byte) []byte) func(said []byte) []byte {
		return func(said []byte) []byte { return wire.AppendProof(nil, own.prove(transcript(said))) }
	}
	good := func(said []byte) []byte { return own.prove(rawTranscript(rawDialler, said, nil)) }
	all := map[string]func(said []byte) []byte{
		"a shared key that is wrong":   proofOf(rawIdentity{shared: []byte("another key of at least 16 bytes")}),
		"a shared key of no bytes":     proofOf(rawIdentity{shared: []byte{}}),
		"the key of a node of no name": proofOf(rawIdentity{private: nodeKey("")}),
		"the key of another node":      proofOf(rawIdentity{private: nodeKey(lab.HonestName)}),
		"the key of the subject":       proofOf(rawIdentity{private: nodeKey(lab.SubjectName)}),
		"the key of the unknown":       proofOf(rawIdentity{private: nodeKey("mallory")}),
		"an empty proof":               func([]byte) []byte { return wire.AppendProof(nil, nil) },
		"zeros":                        func([]byte) []byte { return wire.AppendProof(nil, make([]byte, 64)) },
		"the longest proof":            func([]byte) []byte { return wire.AppendProof(nil, make([]byte, wire.MaxProof)) },
		"the transcript":               func(said []byte) []byte { return wire.AppendProof(nil, rawTranscript(rawDialler, said, nil)) },
		"a proof that is cut":          func(said []byte) []byte { b := good(said); return wire.AppendProof(nil, b[:len(b)-1]) },
		"a proof and a byte":           func(said []byte) []byte { return wire.AppendProof(nil, append(good(said), 0)) },
		"the other role":               func(said []byte) []byte { return own.proof(rawAcceptor, said) },
		"no role":                      func(said []byte) []byte { return own.proof("", said) },
		"HELLO alone":                  func(said []byte) []byte { return own.proof(rawDialler, said[2*len(lab.RawInit(1, 1)):]) },
		"no transcript":                proves(func([]byte) []byte { return nil }),
		"another binding":              proves(func(said []byte) []byte { return rawTranscript(rawDialler, said, make([]byte, 32)) }),
		"no PROOF but PING":            func([]byte) []byte { return wire.AppendPing(nil, wire.TypePing, 1) },
		"no PROOF but PADDING":         func([]byte) []byte { return lab.RawFrame(wire.Frame{Body: make([]byte, 32)}) },
		"no PROOF but a REQUEST": func([]byte) []byte {
			return wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), lab.HandlerHash("echo"), 0, 0, nil)
		},
	}
	if own.shared != nil {
		all["a proof without its label"] = func(said []byte) []byte {
			mac := hmac.New(sha256.New, testKey)
			mac.Write(rawTranscript(rawDialler, said, nil))
			return wire.AppendProof(nil, mac.Sum(nil))
		}
	} else {
		all["a proof without its label"] = func(said []byte) []byte {
			return wire.AppendProof(nil, ed25519.Sign(own.private, rawTranscript(rawDialler, said, nil)))
		}
	}
	return all
}

// TestProtocolImpostors has diallers without the right key try everything. All
// get the same bytes at once and nothing else (W57), whatever the cause, and
// the node whose name they claim keeps its session and its calls (W63: it is not
// even asked whether it lives) (T14, T15, T16, T18).
func TestProtocolImpostors(t *testing.T) {
	for _, kind := range identityKinds {
		lab.RawTest(t, "W57 W71 W72 "+kind.name, lab.RawSetup{Auth: kind.auth}, func(t *testing.T, r *lab.RawCluster) {
			recorded := recordDialler(r, kind.of(r.Name))
			twin := r.Dial()
			handshakeAs(twin, kind.of(r.Name))
			call, answer := twin.Called()
			refused := func(name string, attack func(p *lab.RawPeer)) {
				t.Helper()
				began, p := time.Now(), r.Dial()
				attack(p)
				if got := refusal(p, began); got != rejectedWithoutAWord {
					t.Errorf("%s: the stranger sees %s, want no more than %s", name, got, rejectedWithoutAWord)
				}
				twin.WantIdle(name + ": the session of the real node")
			}
			for name, forge := range forgeries(kind, r.Name) {
				refused(name, func(p *lab.RawPeer) { p.Write(forge(introduce(p, p.HelloBytes()))) })
			}
			wrong := rawIdentity{shared: []byte("another key of at least 16 bytes"), private: nodeKey("nobody")}
			for name, change := range map[string]func(h *wire.Hello){
				"a name that nobody knows": func(h *wire.Hello) { h.From = "mallory" },
				"the name of the subject":  func(h *wire.Hello) { h.From = lab.SubjectName },
				"the name of an honest":    func(h *wire.Hello) { h.From = lab.HonestName },
				"another cluster":          func(h *wire.Hello) { h.Cluster = "staging" },
				"meant for another":        func(h *wire.Hello) { h.To = "elsewhere" },
				"a malformed HELLO":        func(h *wire.Hello) { h.MaxFrame = 1 },
			} {
				refused(name+" and a wrong key", func(p *lab.RawPeer) { p.Write(wrong.proof(rawDialler, introduce(p, p.HelloBytes(change)))) })
			}
			refused("a replay", func(p *lab.RawPeer) {
				p.Write(recorded.init)
				takeSaid(p, wire.TypeInit)
				p.Write(recorded.hello)
				p.Write(recorded.proof)
			})
			refused("the subject's own proof", func(p *lab.RawPeer) {
				introduce(p, p.HelloBytes())
				p.Write(recorded.subjects)
			})
			// A proof of what was not said: one bit less or more anywhere.
			var said []byte
			for at := 0; at == 0 || at < len(said); at++ {
				refused(fmt.Sprintf("bit %d of byte %d", at%8, at), func(p *lab.RawPeer) {
					said = introduce(p, p.HelloBytes())
					changed := slices.Clone(said)
					changed[at] ^= 1 << (at % 8)
					p.Write(kind.of(r.Name).proof(rawDialler, changed))
				})
			}
			for at := range len(recorded.proof) - wire.HeaderSize {
				refused(fmt.Sprintf("a proof with byte %d changed", at), func(p *lab.RawPeer) {
					proof := kind.of(r.Name).proof(rawDialler, introduce(p, p.HelloBytes()))
					proof[wire.HeaderSize+at] ^= 1 << (at % 8)
					p.Write(proof)
				})
			}
			twin.Send(wire.AppendResponse(nil, call, []byte("unharmed")))
			if got := lab.Wait(t, answer, "the call ends"); got.Err != nil || string(got.Resp) != "unharmed" {
				t.Errorf("a call of the real node returned %q, %v", got.Resp, got.Err)
			}
			twin.WantLife(0, "impostors have claimed its name")
			r.Alive("after all impostors")
		})
	}
}

// recordedHandshake is what somebody on the wire can see of one.
type recordedHandshake struct{ init, hello, proof, subjects []byte }

// recordDialler has the raw peer connect, prove itself and leave.
func recordDialler(r *lab.RawCluster, id rawIdentity) (rec recordedHandshake) {
	r.T.Helper()
	p := r.Dial()
	rec.init, rec.hello = lab.RawInit(1, 1), p.HelloBytes()
	said := introduce(p, rec.hello)
	rec.proof = id.proof(rawDialler, said)
	p.Write(rec.proof)
	takeSaid(p, wire.TypeHello)
	rec.subjects = takeSaid(p, wire.TypeProof)
	p.Write(wire.AppendReady(nil))
	p.WantLife(0, "the handshake that is recorded")
	p.Conn.CloseWithError(0, "")
	synctest.Wait()
	return rec
}

// TestProtocolProvedAreTold holds W57 and W58 to those who have proved that they
// have a key, but are not who is meant: they are told why.
func TestProtocolProvedAreTold(t *testing.T) {
	for _, kind := range identityKinds {
		lab.RawTest(t, "W57 W58 "+kind.name, lab.RawSetup{Auth: kind.auth}, func(t *testing.T, r *lab.RawCluster) {
			for name, test := range map[string]struct {
				code   wire.Code
				change func(h *wire.Hello)
			}{
				"another cluster":   {wire.CodeCluster, func(h *wire.Hello) { h.Cluster = "staging" }},
				"meant for another": {wire.CodeName, func(h *wire.Hello) { h.To = "elsewhere" }},
				"no peer":           {wire.CodeName, func(h *wire.Hello) { h.From = "somebody" }},
			} {
				p := r.Dial()
				h := p.OwnHello()
				test.change(&h)
				said := introduce(p, wire.AppendHello(nil, &h))
				p.Write(kind.of(h.From).proof(rawDialler, said))
				if st := p.WantStatus(wire.TypeReject, test.code, name); st.Message == "" {
					t.Errorf("%s: a node that has proved itself is not told why it is refused", name)
				}
			}
		})
	}
}

// TestProtocolMirror sends the subject, which dials, its own frames back, on that
// connection and on one that it accepts. Neither leads anywhere (T16).
func TestProtocolMirror(t *testing.T) {
	for _, kind := range identityKinds {
		lab.RawTest(t, "W58 W71 on its own connection, "+kind.name, lab.RawSetup{Auth: kind.auth, Dials: true}, func(t *testing.T, r *lab.RawCluster) {
			p := r.Accept()
			p.Write(takeSaid(p, wire.TypeInit))
			p.Write(takeSaid(p, wire.TypeHello))
			p.Write(takeSaid(p, wire.TypeProof))
			p.WantClosed(wire.CodeName, "all frames of the dialler sent back")
			lab.WantText(t, "the dialler", r.WhyNot(), lab.SubjectName, r.Name)
		})
		lab.RawTest(t, "W58 W71 on another connection, "+kind.name, lab.RawSetup{Auth: kind.auth, Dials: true}, func(_ *testing.T, r *lab.RawCluster) {
			// The subject greets itself, word by word: its own proof is good, but
			// proves that it is the subject, and is meant for somebody else.
			theirs, mine := r.Accept(), r.Dial()
			mine.Write(takeSaid(theirs, wire.TypeInit))
			theirs.Write(takeSaid(mine, wire.TypeInit))
			mine.Write(takeSaid(theirs, wire.TypeHello))
			mine.Write(takeSaid(theirs, wire.TypeProof))
			mine.WantStatus(wire.TypeReject, wire.CodeName, "the subject's own HELLO and PROOF, on another connection")
			mine.WantClosed(wire.CodeName, "the subject's own HELLO and PROOF, on another connection")
			theirs.WantIdle("nothing was said on the subject's own connection")
			theirs.Conn.CloseWithError(0, "")
			r.Alive("after the mirror")
		})
	}
}

// TestProtocolFalseAcceptors has acceptors without the right key try everything.
// The dialler refuses them with code 20 and says clearly why at home; the real
// node gets in afterwards (T14, T15, T16, D25).
func TestProtocolFalseAcceptors(t *testing.T) {
	for _, kind := range identityKinds {
		lab.RawTest(t, "W57 W58 W71 W72 "+kind.name, lab.RawSetup{Auth: kind.auth, Dials: true}, func(t *testing.T, r *lab.RawCluster) {
			own := kind.of(r.Name)
			first := r.Accept()
			rec := recordedHandshake{init: lab.RawInit(1, 1), hello: first.HelloBytes()}
			rec.proof = own.proof(rawAcceptor, introduce(first, rec.hello))
			first.Write(rec.proof)
			first.Want(wire.TypeReady, "the handshake that is recorded")
			first.WantLife(0, "the handshake that is recorded")
			first.Conn.CloseWithError(0, "")

			attacks := map[string]func(p *lab.RawPeer, said []byte) []byte{
				"a wrong key": func(_ *lab.RawPeer, said []byte) []byte {
					return rawIdentity{shared: make([]byte, 16)}.proof(rawAcceptor, said)
				},
				"the key of another node": func(_ *lab.RawPeer, said []byte) []byte {
					return rawIdentity{private: nodeKey(lab.HonestName)}.proof(rawAcceptor, said)
				},
				"an empty proof": func(*lab.RawPeer, []byte) []byte { return wire.AppendProof(nil, nil) },
				"the other role": func(_ *lab.RawPeer, said []byte) []byte { return own.proof(rawDialler, said) },
				"a replay":       func(*lab.RawPeer, []byte) []byte { return rec.proof },
				"another binding": func(_ *lab.RawPeer, said []byte) []byte {
					return wire.AppendProof(nil, own.prove(rawTranscript(rawAcceptor, said, make([]byte, 32))))
				},
				"a transcript without the dialler's proof": func(p *lab.RawPeer, said []byte) []byte {
					proof := len(lab.RawFrame(wire.Frame{Body: own.prove(nil)}))
					hello := len(p.HelloBytes())
					return own.proof(rawAcceptor, slices.Delete(slices.Clone(said), len(said)-hello-proof, len(said)-hello))
				},
			}
			for name, forge := range attacks {
				p := r.Accept()
				p.Write(forge(p, introduce(p, p.HelloBytes())))
				if reason := p.WantClosed(wire.CodeRejected, name); !strings.Contains(reason, "proof of identity") {
					t.Errorf("%s: the false acceptor is told %q", name, reason)
				}
				lab.WantText(t, name, r.WhyNot(), "a node claims to be", r.Name, "proof was not accepted")
			}
			p := r.Accept()
			introduce(p, p.HelloBytes())
			p.Write(wire.AppendPing(nil, wire.TypePing, 1))
			p.WantClosed(wire.CodeProtocol, "PING in place of PROOF")
			p = r.Accept()
			handshakeAs(p, own)
			p.WantLife(0, "the real node is back")
		})
	}
}
