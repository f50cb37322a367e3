"""Names that an attacker would give: shown as text, they do nothing."""

HOSTILE_TAG = "<script>window.pwned=1</script>"
HOSTILE_MARKUP = '<img src=x onerror="window.pwned=1">'
HOSTILE_ID = 'a/../"><svg onload=window.pwned=1>?#%2F.png'
