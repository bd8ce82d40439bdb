package main
import _ "golang.org/x/mod/sumdb/note"
import _ "golang.org/x/mod/sumdb/tlog"
func main() {}
