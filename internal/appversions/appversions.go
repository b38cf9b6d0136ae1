// Package appversions has the list of current versions of the app, which a
// relay tells its clients so that they know of updates.
//
//	{"clients": [{"clientId": "deltachat", "sources": [{"sourceId": "gplay",
//	  "versionInteger": 754, "versionString": "2.57.0",
//	  "downloadUrl": "https://github.com/deltachat/..."}]}]}
//
// A client drops the whole list when one value of it has the wrong type, so
// nothing is told that does not keep to the form.
package appversions

import (
	"bytes"
	_ "embed" // for the list that is shipped
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxSize bounds a list, in octets: it goes to every client.
const MaxSize = 64 << 10

// shipped is the list that comes with the program, as a file has it.
//
//go:embed shipped.json
var shipped []byte

// sources are where an app may be told to come from.
var sources = []string{"https://github.com/deltachat/", "https://download.delta.chat/"}

// ErrForm is inside every error about a list that does not keep to the form.
var ErrForm = errors.New("no list of app versions")

// Minify checks a list and gives it without the space between its values, in
// one line; what is inside strings stays as it is. The error says where the
// list is wrong and wraps ErrForm.
func Minify(list []byte) ([]byte, error) {
	if err := check(list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return b.Bytes(), nil
}

func check(list []byte) error {
	if len(list) > MaxSize {
		return fmt.Errorf("larger than %d octets", MaxSize)
	}
	if !utf8.Valid(list) {
		return errors.New("not UTF-8")
	}
	top, err := object(list, "clients")
	if err != nil {
		return err
	}
	return each(top["clients"], "clients", func(raw json.RawMessage, seen map[string]bool) error {
		client, err := object(raw, "clientId", "sources")
		if err != nil {
			return err
		}
		if err := identifier(client, "clientId", seen); err != nil {
			return err
		}
		return each(client["sources"], "sources", checkSource)
	})
}

func checkSource(raw json.RawMessage, seen map[string]bool) error {
	source, err := object(raw, "sourceId", "versionInteger", "versionString", "downloadUrl")
	if err != nil {
		return err
	}
	if err := identifier(source, "sourceId", seen); err != nil {
		return err
	}
	// A JSON number in any other form (-0, 1.0, 1e3) is none for every reader.
	number := string(source["versionInteger"])
	if n, err := strconv.ParseUint(number, 10, 32); err != nil || strconv.FormatUint(n, 10) != number {
		return errors.New("versionInteger is no whole number from 0 to 4294967295")
	}
	if _, err := text(source, "versionString"); err != nil {
		return err
	}
	url, err := text(source, "downloadUrl")
	if err != nil {
		return err
	}
	for _, prefix := range sources {
		if strings.HasPrefix(url, prefix) {
			return nil
		}
	}
	return fmt.Errorf("downloadUrl begins with none of %q", sources)
}

// object reads an object that has exactly these keys, each once.
func object(raw []byte, keys ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("an object is missing")
	}
	found := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string) // what else could stand there is an error of Token
		if _, have := found[key]; have {
			return nil, fmt.Errorf("%.40q is there twice", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		found[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the list")
	}
	for _, key := range keys {
		if _, have := found[key]; !have {
			return nil, fmt.Errorf("%s is missing", key)
		}
	}
	if len(found) != len(keys) {
		return nil, fmt.Errorf("there is more than %s", strings.Join(keys, ", "))
	}
	return found, nil
}

// each calls f for each element of a list, which has at least one. What f
// keeps in seen is of this list.
func each(raw json.RawMessage, name string, f func(element json.RawMessage, seen map[string]bool) error) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		return fmt.Errorf("%s is no list of one or more", name)
	}
	seen := map[string]bool{}
	for i, element := range list {
		if err := f(element, seen); err != nil {
			return fmt.Errorf("%s[%d]: %w", name, i, err)
		}
	}
	return nil
}

// identifier checks a text that no other object of the list has.
func identifier(o map[string]json.RawMessage, key string, seen map[string]bool) error {
	id, err := text(o, key)
	if err != nil {
		return err
	}
	if seen[id] {
		return fmt.Errorf("%s %.40q is there twice", key, id)
	}
	seen[id] = true
	return nil
}

func text(o map[string]json.RawMessage, key string) (string, error) {
	var s *string
	if err := json.Unmarshal(o[key], &s); err != nil || s == nil || *s == "" {
		return "", fmt.Errorf("%s is no text", key)
	}
	return *s, nil
}
