package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var always = []string{"checkpoint", "events.jsonl", "hashes", "keys.json"}
var members = []string{"at", "type", "outcome", "actor", "targets", "data"}

// checkFolder refuses a file that no export has, one that is not there, and a spreadsheet that the events do not make.
func checkFolder(dir string, lines []line) {
	content, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	must(err)
	var manifest struct{ Files map[string]string }
	must(json.Unmarshal(content, &manifest))
	_, tabled := manifest.Files["events.csv"]
	expected := append(slices.Clone(always), "manifest.json")
	if tabled {
		expected = append(expected, "events.csv")
	}
	slices.Sort(expected)
	entries, err := os.ReadDir(dir) // sorted by name
	must(err)
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	if !slices.Equal(found, expected) || len(manifest.Files) != len(expected)-1 {
		must(fmt.Errorf("other files than an export has"))
	}
	if !tabled {
		return
	}
	table, err := os.ReadFile(filepath.Join(dir, "events.csv"))
	must(err)
	if !bytes.Equal(table, written(lines)) {
		must(fmt.Errorf("another table than the events make"))
	}
}

func written(lines []line) []byte {
	var out bytes.Buffer
	out.WriteString(row(append(append([]string{"index", "revision"}, members...), "event", "salt", "personal")))
	for _, l := range lines {
		cells := []string{fmt.Sprint(l.Index), fmt.Sprint(l.Revision)}
		var event map[string]json.RawMessage
		must(json.Unmarshal(l.Event, &event))
		for _, name := range members {
			cells = append(cells, shown(event[name]))
		}
		salt, personal := "", ""
		if l.Personal != nil {
			salt, personal = l.Personal.Salt, string(l.Personal.Data)
		}
		out.WriteString(row(append(cells, string(l.Event), salt, personal)))
	}
	return out.Bytes()
}

// shown is a text as it is and anything else as its JSON, what could hide something escaped.
func shown(value json.RawMessage) string {
	text := string(value)
	if strings.HasPrefix(text, `"`) {
		must(json.Unmarshal(value, &text))
	}
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			out.WriteString(map[rune]string{'\t': `\t`, '\n': `\n`, '\r': `\r`}[r])
		case r < 0x20 || 0x7f <= r && r <= 0x9f:
			fmt.Fprintf(&out, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func hidden(r rune) bool {
	return r == 0x61c || r == 0x200b || r == 0x200e || r == 0x200f || 0x2028 <= r && r <= 0x202e ||
		0x2060 <= r && r <= 0x2069 || r == 0xfeff || 0xfff9 <= r && r <= 0xfffb
}

func row(cells []string) string {
	quoted := make([]string, len(cells))
	for i, text := range cells {
		if first := []rune(text + " ")[0]; strings.ContainsRune("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20", first) {
			text = "'" + text
		}
		quoted[i] = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ",") + "\r\n"
}
