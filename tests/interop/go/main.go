// A second opinion on our logs, by the Go project's own packages for signed notes and transparency logs.
//
//	peer check < JSON   verifies our checkpoints, inclusion and consistency proofs
//	peer make NAME N M  makes a log of its own, of sizes N and M, for us to verify
//	peer export DIR     verifies an export, reading nothing but the files
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proofs struct {
	VKey        string
	Old, New    string
	Leaf        []byte
	Index       int64
	Inclusion   tlog.RecordProof
	Consistency tlog.TreeProof
}

type head struct {
	origin string
	size   int64
	root   tlog.Hash
	sigs   []note.Signature
}

type key struct {
	VKey    string     `json:"vkey"`
	Until   *time.Time `json:"until"`
	Revoked *time.Time `json:"revoked"`
	Purpose string     `json:"purpose"`
}

type line struct {
	Index    int64           `json:"index"`
	Revision uint64          `json:"revision"`
	Event    json.RawMessage `json:"event"`
	Personal *struct {
		Salt string          `json:"salt"`
		Data json.RawMessage `json:"data"`
	} `json:"personal"`
}

type store []tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		hashes[i] = s[at]
	}
	return hashes, nil
}

func (s *store) append(n int64, leaf []byte) {
	hashes, err := tlog.StoredHashes(n, leaf, *s)
	must(err)
	*s = append(*s, hashes...)
}

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func open(text string, verifiers note.Verifiers) head {
	opened, err := note.Open([]byte(text), verifiers)
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != opened.Sigs[0].Name {
		must(fmt.Errorf("not a checkpoint of its signer"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return head{lines[0], size, root, opened.Sigs}
}

func known(vkeys ...string) note.Verifiers {
	var list []note.Verifier
	slices.Sort(vkeys)
	for _, vkey := range slices.Compact(vkeys) { // a key that returned has several entries
		verifier, err := note.NewVerifier(vkey)
		must(err)
		list = append(list, verifier)
	}
	return note.VerifierList(list...)
}

func check() {
	var p proofs
	must(json.NewDecoder(os.Stdin).Decode(&p))
	verifiers := known(p.VKey)
	older, newer := open(p.Old, verifiers), open(p.New, verifiers)
	must(tlog.CheckRecord(p.Inclusion, newer.size, newer.root, p.Index, tlog.RecordHash(p.Leaf)))
	must(tlog.CheckTree(p.Consistency, newer.size, newer.root, older.size, older.root))
}

func create(name string, older, newer int64) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	var s store
	sign := func(size int64) string {
		root, err := tlog.TreeHash(size, s)
		must(err)
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", name, size, root)}, signer)
		must(err)
		return string(signed)
	}
	p := proofs{VKey: vkey, Index: newer / 2}
	for n := int64(0); n < newer; n++ {
		leaf := []byte(fmt.Sprintf("leaf %d", n))
		if n == p.Index {
			p.Leaf = leaf
		}
		s.append(n, leaf)
		if n+1 == older {
			p.Old = sign(older)
		}
	}
	p.New = sign(newer)
	p.Inclusion, err = tlog.ProveRecord(newer, p.Index, s)
	must(err)
	p.Consistency, err = tlog.ProveTree(newer, older, s)
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(p))
}

func export(dir string) {
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(err)
		return content
	}
	var keys []key
	must(json.Unmarshal(read("keys.json"), &keys))
	var vkeys []string
	for _, k := range keys {
		if k.signsCheckpoints() {
			vkeys = append(vkeys, k.VKey)
		}
	}
	signed := open(string(read("checkpoint")), known(vkeys...))
	hashes := read("hashes")
	var s store
	n := int64(0)
	var lines []line
	scanner := bufio.NewScanner(bytes.NewReader(read("events.jsonl")))
	scanner.Buffer(nil, 1<<24)
	for ; scanner.Scan(); n++ {
		var l line
		if json.Unmarshal(scanner.Bytes(), &l) != nil || l.Index != n {
			must(fmt.Errorf("bad index %d", n))
		}
		leaf := append(binary.BigEndian.AppendUint64(nil, l.Revision), l.Event...)
		hash := tlog.RecordHash(leaf)
		if int64(len(hashes)) < (n+1)*32 || !bytes.Equal(hash[:], hashes[n*32:(n+1)*32]) {
			must(fmt.Errorf("bad index %d", n))
		}
		checkPersonal(l, n)
		s.append(n, leaf)
		lines = append(lines, l)
	}
	if n != signed.size {
		must(fmt.Errorf("bad index %d", n))
	}
	root, err := tlog.TreeHash(n, s)
	must(err)
	if root != signed.root {
		must(fmt.Errorf("another root than was signed"))
	}
	if !slices.ContainsFunc(signed.sigs, func(sig note.Signature) bool {
		return sig.Name == signed.origin && inTime(sig, keys, newest(lines))
	}) {
		must(fmt.Errorf("signed by a key after its end"))
	}
	checkFolder(dir, lines)
	fmt.Println("complete up to", n)
}

func (k key) signsCheckpoints() bool {
	return k.Purpose == "" || k.Purpose == "audit_checkpoint"
}

// newest is when the last event happened; nil for an empty log.
func newest(lines []line) *time.Time {
	if len(lines) == 0 {
		return nil
	}
	var body struct{ At time.Time }
	must(json.Unmarshal(lines[len(lines)-1].Event, &body))
	return &body.At
}

// inTime says whether the key of a signature could sign a checkpoint over an event of that time.
func inTime(sig note.Signature, keys []key, newest *time.Time) bool {
	running := false
	for _, k := range keys {
		verifier, err := note.NewVerifier(k.VKey)
		must(err)
		if !k.signsCheckpoints() || verifier.Name() != sig.Name || verifier.KeyHash() != sig.Hash {
			continue
		}
		if k.Revoked != nil && (newest == nil || newest.After(*k.Revoked)) {
			return false
		}
		running = running || k.Until == nil || newest == nil || !newest.After(*k.Until)
	}
	return running
}

func checkPersonal(l line, n int64) {
	if l.Personal == nil {
		return
	}
	var body struct{ Personal string }
	salt, err := hex.DecodeString(l.Personal.Salt)
	digest := sha256.Sum256(append(salt, l.Personal.Data...))
	spelled := len(salt) == 16 && hex.EncodeToString(salt) == l.Personal.Salt
	if err != nil || !spelled || json.Unmarshal(l.Event, &body) != nil || hex.EncodeToString(digest[:]) != body.Personal {
		must(fmt.Errorf("bad index %d", n))
	}
}

func main() {
	switch os.Args[1] {
	case "check":
		check()
	case "make":
		older, err := strconv.ParseInt(os.Args[3], 10, 64)
		must(err)
		newer, err := strconv.ParseInt(os.Args[4], 10, 64)
		must(err)
		create(os.Args[2], older, newer)
	case "export":
		export(os.Args[2])
	}
}
