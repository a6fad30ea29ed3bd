// Removes the token from the address before anything else can read it, and submits it once.
"use strict";
const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("token").value = token;
  document.getElementById("open").submit();
}
